"""Real nginx, Redis, Postgres and sluiced, started, watched and stopped for one test."""
