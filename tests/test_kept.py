"""What a build keeps: an entry is whole and of the same question, or it is absent."""

import json
from pathlib import Path

import kept
import pytest

ASKED = "how many layers?"


def three(answer: dict[str, int]) -> int:
    return answer["layers"] + 0


def test_an_answer_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "folder/entry.json"
    assert kept.read(file, ASKED, three) is None
    kept.write(file, ASKED, {"layers": 3})
    assert kept.read(file, ASKED, three) == 3
    assert kept.read(file, "how many heads?", three) is None
    assert list(file.parent.iterdir()) == [file]


def test_an_entry_that_is_cut_off_anywhere_counts_as_absent(tmp_path: Path) -> None:
    file = tmp_path / "entry.json"
    kept.write(file, ASKED, {"layers": 3})
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        assert kept.read(file, ASKED, three) is None


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x05K\x03.",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"null",
        b"[]",
        b'"asked"',
        json.dumps({"asked": ASKED}).encode(),
        *(json.dumps({"asked": ASKED, "answer": answer}).encode() for answer in (None, 3, [], {}, {"layers": None})),
    ],
)
def test_an_entry_of_another_kind_counts_as_absent(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "entry.json"
    file.write_bytes(content)
    assert kept.read(file, ASKED, three) is None
    kept.write(file, ASKED, {"layers": 3})
    assert kept.read(file, ASKED, three) == 3


def test_an_entry_that_is_a_folder_counts_as_absent(tmp_path: Path) -> None:
    file = tmp_path / "entry.json"
    file.mkdir()
    kept.write(file, ASKED, {"layers": 3})
    assert kept.read(file, ASKED, three) is None
    assert list(tmp_path.iterdir()) == [file], "what could not be kept left nothing"


def test_a_file_in_the_place_of_the_cache_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / ".cache").touch()
    kept.write(tmp_path / ".cache/entry.json", ASKED, {"layers": 3})
    assert kept.read(tmp_path / ".cache/entry.json", ASKED, three) is None


def test_a_full_disk_leaves_no_unfinished_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(path: Path, text: str, encoding: str) -> None:
        path.write_bytes(text[: len(text) // 2].encode(encoding))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    kept.write(tmp_path / "entry.json", ASKED, {"layers": 3})
    assert list(tmp_path.iterdir()) == []
