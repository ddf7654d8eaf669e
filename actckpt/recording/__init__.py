"""What any module keeps: a run recorded as typed events, and the answers that follow from them."""
