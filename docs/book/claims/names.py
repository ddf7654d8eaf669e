"""What several claims name: ways of counting, lengths, sources, and the tests that hold their numbers."""

from __future__ import annotations

from typing import Any

from book.claims.claim import n
from book.quantities.sources import SOURCES
from book.quantities.steps import LENGTHS, LONG
from book.quantities.text import tokens

Options = dict[str, Any]
EAGER: Options = {"attention": "eager"}
WORKSHOP: Options = {"accounting": "workshop"}
PAPER: Options = {"accounting": "paper"}

SHORTEST, AT_LONG, LONGEST = (n(tokens(seq_len)) for seq_len in (LENGTHS[0], LONG, LENGTHS[-1]))


def link(url: str, words: str) -> str:
    return f'<a href="{url}">{words}</a>'


PAPER_LINK, AMPERE_LINK = SOURCES["korthikanti"].link, SOURCES["ampere"].link
FLASH_1 = link(SOURCES["dao"].url, "Dao et al., arXiv 2205.14135")
FLASH_2 = link(SOURCES["dao2"].url, "Dao, arXiv 2307.08691")
LLAMA_3 = link(SOURCES["llama3"].url, "Grattafiori et al., arXiv 2407.21783")
ZERO = link(SOURCES["zero"].url, "Rajbhandari et al., arXiv 1910.02054")
CHECKPOINT = link(SOURCES["checkpoint"].url, "torch.utils.checkpoint")
DATASHEETS = "datasheets, in <code>actckpt.hardware</code>"
APPENDIX_A = f"{PAPER_LINK}, appendix A"

PAPERS_LAYER = "test_formulas::test_a_layer_of_the_paper_keeps_34_sbh_and_5_nssb_bytes"
STRATEGIES = "test_formulas::test_what_each_strategy_leaves"
OVERHEADS = "test_formulas::test_overhead_of_each_strategy"
EAGERS_SQUARE = "test_formulas::test_eager_attention_adds_6_nssb_bytes_and_no_log_sum_exp"
POLICIES_LEAVE = "test_formulas::test_what_the_policies_leave_of_34_03"
STATES = "test_formulas::test_training_states_are_16_bytes_a_parameter_and_shared_by_ranks"
PAPERS_FLOPS = "test_formulas::test_forward_flops_of_the_paper_are_those_of_its_matmuls"
FLASH_BACKWARD = "test_formulas::test_the_flash_backward_is_one_matmul_more_and_changes_nothing_else"
LLAMAS_FLOPS = "test_formulas::test_flops_of_a_llama_block_are_those_of_its_matmuls"
MEASURED = "test_measurement::test_the_measurement_equals_the_closed_form"
TRADEOFF = "test_tradeoff::test_a_tradeoff_is_the_difference_of_two_steps"
TRAFFIC = "test_flash_page::test_standard_attention_moves_what_its_ops_read_and_write"
PEAK = "test_claims::test_the_peak_is_the_states_and_what_is_alive_beside_them"
PUBLISHED = "test_claims::test_what_was_published_is_what_the_papers_say"
HARDWARE = "test_claims::test_hardware_is_what_the_datasheets_say"
AT_MOST_A_THIRD = "test_claims::test_no_policy_adds_more_than_a_third"
POINTWISE = "test_tradeoff::test_what_runs_no_flops_again_buys_without_limit"
