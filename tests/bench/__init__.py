"""How fast it is, measured on whatever machine asks: `make bench`.

What is compared is compared in one run, in turns, and told as a ratio: seconds differ from machine
to machine and from hour to hour, ratios far less. The modules called `bench_*` are run by
pytest-benchmark; `python -m tests.bench.suite` takes the minutes and hours that whole suites
need; `python -m tests.bench.report` makes the table and the figure of what they wrote.
"""
