"""Where `fastbulk.insert` and its siblings do better on purpose, and the test in `tests/suite`."""

from __future__ import annotations

#: By the behaviour's number: what they do, and where it is tested.
BETTER = {
    1: ("no rows insert nothing", "test_rows.py::test_no_rows_insert_nothing"),
    2: ("rows in every form are updated", "test_update.py::test_every_form_of_rows"),
    3: ("rows are deleted by key", "test_delete.py::test_every_form_of_a_key"),
    10: (
        "an unknown key is refused, by row and name",
        "test_keys.py::test_an_unknown_key_is_refused_by_row_and_name",
    ),
    11: (
        "a synonym is the attribute that it names",
        "test_keys.py::test_a_synonym_is_the_attribute_that_it_names",
    ),
    12: (
        "None for a composite is NULL in its parts",
        "test_keys.py::test_a_composite_that_is_none_is_null_in_its_parts",
    ),
    19: (
        "an SQL expression as a value is refused before anything is sent",
        "test_errors.py::test_a_sql_expression_is_no_value",
    ),
    31: ("`onupdate` holds in an upsert too", "test_upsert.py::test_onupdate"),
    52: ("an upsert's objects are fresh", "test_upsert.py::test_returned_entities_are_fresh"),
    61: (
        "conditions keep the Session's objects right; what did not meet them is told",
        "test_update.py::test_where",
    ),
    63: (
        "an update returns its rows, in their order",
        "test_update.py::test_returned_in_the_order_of_the_rows",
    ),
    64: (
        "the Session's objects are what the rows are",
        "test_update.py::test_objects_of_the_session_are_what_the_rows_are",
    ),
    69: (
        "a key that stands twice is an error, or the first or last counts",
        "test_upsert.py::test_two_rows_of_one_key",
    ),
    72: (
        "rows that are there come back too",
        "test_upsert.py::test_every_row_comes_back_in_its_place",
    ),
}
