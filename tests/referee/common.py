"""What the referees share: the command line, calls of factflow, and the count at the end."""
import argparse
import subprocess
import sys


def arguments(description, families=(), count=100):
    """`families`: those that --families may choose from. `count`: of cases, if the command line does not say."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--factflow", required=True, help="the program")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=count)
    parser.add_argument("--only", type=int, help="the number of one case, to look at a disagreement")
    if families:
        parser.add_argument("--families", type=lambda words: words.split(","), help="only these of " + ", ".join(families))
    return parser.parse_args()


def call(program, *arguments, timeout=120):
    """(exit code, stdout, stderr); never raises for what the program does."""
    try:
        done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=timeout)
        return done.returncode, done.stdout, done.stderr.strip()
    except subprocess.TimeoutExpired:
        return -1, "", f"no answer within {timeout} s"


class Tally:
    """Counts verdicts, prints each disagreement as one line, and gives the exit code."""

    def __init__(self, what, seed):
        self.what, self.seed = what, seed
        self.agreed = self.refused = self.failed = 0

    def agree(self):
        self.agreed += 1

    def refuse(self):
        self.refused += 1

    def fail(self, number, line):
        self.failed += 1
        print(f"{self.what} {number} of seed {self.seed}: {line}", flush=True)

    def count(self, number, wrong):
        """wrong: None for a refusal with the reason, "" for agreement, else what is wrong."""
        if wrong is None:
            self.refuse()
        elif wrong:
            self.fail(number, wrong)
        else:
            self.agree()

    def close(self, least_agreed):
        """`least_agreed`: a referee that sees refusals alone has refereed nothing."""
        total = self.agreed + self.refused + self.failed
        print(f"{self.what}s of seed {self.seed}: {total}, of which {self.agreed} agree with the library, "
              f"{self.refused} are refused with the reason, {self.failed} are wrong")
        if self.agreed < least_agreed:
            print(f"only {self.agreed} agree, expected at least {least_agreed}")
            return 1
        return 1 if self.failed or total == 0 else 0
