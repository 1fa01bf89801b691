"""A role's session in Postgres."""

import io

import psycopg2


class Session:
    """Its statements are each on their own."""

    def __init__(self, stack, role, database="sluice"):
        self.connection = psycopg2.connect(host=str(stack.folder), dbname=database, user=role)
        self.connection.autocommit = True

    def run(self, sql):
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else None

    def copy(self, sql, text=""):
        with self.connection.cursor() as cursor:
            cursor.copy_expert(sql, io.StringIO(text))
