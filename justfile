# The gate's steps under short names: `just check` before a commit, `just gate` before a push.

check: format lint docs test

format:
    .ci/run format

lint:
    .ci/run lint

docs:
    .ci/run docs

test:
    .ci/run test

gate:
    .ci/run
