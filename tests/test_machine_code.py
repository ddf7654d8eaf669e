"""The reader of machine code and the gate that stands on it, on code written by hand."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from kernels import gate
from kernels.attention_builds import Row
from kernels.machine_code import Loop, MachineCode, Program

# as nvdisasm writes it: a loop whose mask stands in its way, whose wait for a copy spins behind the end of the kernel,
# and around which another loop stores
ASSEMBLY = """
kernel:
.text.kernel:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
.L_x_0:
        /*0010*/                   STL [R1], R2 ;
.L_x_1:
        /*0020*/                   SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR9+0x28000], R15 ;
        /*0030*/              @!P0 BRA `(.L_x_4) ;
.L_x_2:
        /*0040*/                   HGMMA.64x128x16.F32.BF16 R24, gdesc[UR4], R24, gsb0 ;
        /*0050*/                   WARPGROUP.DEPBAR.LE gsb0, 0x0 ;
        /*0060*/                   BRA.U UP0, `(.L_x_3) ;
        /*0070*/                   FSEL R24, R24, -INF , P1 ;
        /*0080*/                   LDL.LU R3, [R1] ;
.L_x_3:
        /*0090*/                   HGMMA.64x128x16.F32.BF16 R24, R4, gdesc[UR4], R24, gsb0 ;
        /*00a0*/                   MUFU.EX2 R5, R24 ;
        /*00b0*/                   MUFU.RCP R5, R24 ;
        /*00c0*/                   LDGSTS.E.BYPASS.LTC128B.128 [R6], desc[UR6][R8.64], P2 ;
        /*00d0*/                   LDGSTS.E [R7], desc[UR6][R8.64], P2 ;
        /*00e0*/                   LDG.E.64 R10, desc[UR6][R8.64] ;
        /*00f0*/               @P3 UTMALDG.4D [UR8], [UR16] ;
        /*0100*/                   BAR.SYNC.DEFER_BLOCKING 0x0 ;
        /*0110*/                   LDS.128 R12, [R9] ;
        /*0120*/                   STSM.16.M88.4 [R9], R12 ;
        /*0130*/               @P4 BRA `(.L_x_1) ;
        /*0140*/               @P5 BRA `(.L_x_0) ;
        /*0150*/                   EXIT ;
.L_x_4:
        /*0160*/                   SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR9+0x28000], R15 ;
        /*0170*/              @!P0 BRA `(.L_x_4) ;
        /*0180*/                   BRA `(.L_x_2) ;
.L_x_5:
        /*0190*/                   BRA `(.L_x_5);
.L_x_6:
"""
LOOP = Loop(
    shortest=16,
    instructions=21,
    products=2,
    waits=1,
    exp2=1,
    tensor_loads=1,
    copies={"4": 1, "16": 1},
    loads={"8": 1},
    shared_loads=1,
    shared_stores=1,
    barriers=1,
    spill_loads=1,
    spill_stores=0,
)
CLEAN = MachineCode(
    registers=128,
    stack=0,
    spill_loads=0,
    spill_stores=0,
    warnings=(),
    product="HGMMA",
    loops=(replace(LOOP, spill_loads=0, copies={"16": 2}),),
)
ROW = Row("3.0", 90, "dk_dv", 128, "bfloat16", "descriptor", None, CLEAN)


def with_loop(**changes) -> MachineCode:
    return replace(CLEAN, loops=(replace(CLEAN.loops[0], **changes),))


def test_the_main_loop_is_read_with_what_stands_elsewhere():
    assert list(Program(ASSEMBLY).main_loops("HGMMA")) == [LOOP]


def test_a_loop_of_few_products_is_not_a_main_loop():
    product = "        /*0000*/                   FFMA R1, R2, R3, R1 ;\n"
    back = "        /*0000*/               @P0 BRA `(.L_x_{}) ;\n"
    loops = [f".L_x_{name}:\n{product * count}{back.format(name)}" for name, count in enumerate((1, 3, 4))]
    begin, end = (f"        /*0000*/                   {name} ;\n" for name in ("NOP", "EXIT"))
    found = Program(begin + "".join(loops) + end).main_loops("FFMA")
    assert [loop.products for loop in found] == [3, 4]


def test_code_survives_json():
    assert MachineCode.from_json(json.loads(json.dumps(asdict(CLEAN)))) == CLEAN


def test_clean_code_has_no_fault():
    assert gate.faults(ROW) == set()


@pytest.mark.parametrize(
    ("fault", "row"),
    [
        ("C7515", replace(ROW, code=replace(CLEAN, warnings=("C7515",)))),
        ("waits", replace(ROW, code=with_loop(waits=2))),
        ("no HGMMA", replace(ROW, code=replace(CLEAN, product="HMMA"))),
        ("no loop", replace(ROW, code=replace(CLEAN, loops=()))),
        ("spill", replace(ROW, code=with_loop(spill_loads=1))),
        ("spill", replace(ROW, code=with_loop(spill_stores=1))),
        ("narrow", replace(ROW, code=with_loop(tensor_loads=0, copies={}))),
        ("narrow", replace(ROW, code=with_loop(copies={"8": 1, "16": 2}))),
        ("stack", replace(ROW, code=replace(CLEAN, stack=24))),
    ],
)
def test_each_fault_is_found(fault, row):
    assert gate.faults(row) == {fault}


def test_what_is_known_is_known_where_it_was_said(monkeypatch):
    said = gate.Known("spill", "why", head_dims=(128,), dtypes=("bfloat16",), triton="3.0")
    monkeypatch.setattr(gate, "KNOWN", (said,))
    assert gate.known(ROW) == {"spill": "why"}
    assert gate.known(replace(ROW, head_dim=64)) == gate.known(replace(ROW, triton="3.1")) == {}


def test_the_table_has_one_row_for_types_of_the_same_code():
    other = replace(ROW, dtype="float32", code=replace(CLEAN, registers=64))
    table = gate.table([ROW, replace(ROW, dtype="float16"), other])
    assert [row["dtypes"] for row in table] == [["bfloat16", "float16"], ["float32"]]
