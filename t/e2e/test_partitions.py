"""Partitions are made as their table is, also as an operator has changed it."""

import time

from harness import frames


def test_a_constraint_and_a_column_of_the_operator(stack):
    stack.allow("a record cannot be stored")
    connection = stack.postgres.connect()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE logs ADD CONSTRAINT not_x CHECK (message <> 'x')")
        cursor.execute("ALTER TABLE logs ADD COLUMN site text NOT NULL DEFAULT 'here'")
    connection.close()
    days_ago_ms = int(time.time() * 1000) - 9 * 24 * 3600 * 1000
    frames.add(stack.redis, [
        frames.frame([frames.row(), frames.row(message="x")], t_ms=days_ago_ms),
        frames.frame([frames.row()]),
    ])
    stack.wait_rows(2)
    stack.wait_drained()
    assert stack.postgres.query("SELECT DISTINCT site FROM logs") == [("here",)]
    assert stack.postgres.value("SELECT count(*) FROM dead_letters") == 1
