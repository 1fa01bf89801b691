"""Without Postgres ingest goes on, and the loader catches up."""


def test_postgres_killed_and_back(stack, api):
    assert api.log(message="before").status == 200
    stack.wait_rows(1)
    stack.postgres.kill()
    stack.wait_health("degraded")
    for number in range(50):
        assert api.log(message=f"while away {number}").status == 200
    assert stack.redis.stream_length() >= 1
    stack.postgres.start()
    stack.wait_rows(51)
    stack.wait_drained()
    stack.wait_healthy()


def test_postgres_stopped_politely_under_load_and_back(stack, api):
    for number in range(30):
        assert api.log(message=f"first {number}").status == 200
    stack.postgres.stop()
    for number in range(30):
        assert api.log(message=f"second {number}").status == 200
    stack.postgres.start()
    stack.wait_rows(60)


def test_loader_starts_before_postgres(make_stack):
    stack = make_stack()
    for part in (stack.redis, stack.loader, stack.server, stack.nginx):
        part.start()
    stack.wait_health("degraded")
    assert stack.api().log().status == 200
    stack.postgres.start()
    stack.wait_rows(1)
    stack.wait_healthy()
