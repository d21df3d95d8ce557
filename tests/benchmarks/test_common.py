from benchmarks.common import markdown_table


def test_a_table_has_a_head_a_rule_and_a_line_for_each_row() -> None:
    assert markdown_table(["", "a"], [("first", "1"), ("second", "")]) == (
        "|  | a |\n| --- | --- |\n| first | 1 |\n| second |  |"
    )
    assert markdown_table(iter(["a"]), []) == "| a |\n| --- |"
