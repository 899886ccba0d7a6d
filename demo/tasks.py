"""Other tasks about the facts of facts.py, in the minimal form: `python3 tasks.py tasks.jsonl`.

Two hops (the capital of a company's country) and questions. The demo models were trained on neither.
"""
import json
import sys

from facts import COMPANIES, COUNTRIES, rows

COMPANIES_ASKED, COUNTRIES_ASKED = 32, 32


def two_hops():
    capitals = {name: capital for name, capital, _, _ in rows(COUNTRIES)}
    known = [(company, capitals[country]) for company, country, _ in rows(COMPANIES) if country in capitals]
    for company, capital in known[:COMPANIES_ASKED]:
        yield dict(prompt=f"The capital of the country where {company} started out is", subject=company, answer=capital,
                   relation="two_hop_capital")


def questions():
    for name, capital, _, _ in rows(COUNTRIES)[:COUNTRIES_ASKED]:
        yield dict(prompt=f"Question: What is the capital of {name}? Answer:", subject=name, answer=capital, relation="question_capital")


if __name__ == "__main__":
    with open(sys.argv[1], "w") as f:
        # In turn, so that the first N hold both.
        for i, row in enumerate(row for pair in zip(two_hops(), questions()) for row in pair):
            f.write(json.dumps(dict(id=i, **row), ensure_ascii=False) + "\n")
