"""Runs of factflow on the CPU, for the referees."""
import os
import resource
import subprocess
import sys
import time

EDGES = ["subject->last", "last->last", "first->last", "relation->last"]


def spread(count, wanted):
    """At most `wanted` of 0 .. count - 1, the ends among them."""
    return sorted({round(i * (count - 1) / max(1, wanted - 1)) for i in range(min(count, wanted))})


def configuration(model, dataset, ids, sizes, threads=1, precision="fp32", heatmaps=0):
    maps = f"heatmaps: {{window: {sizes[0]}, prompts: {heatmaps}}}\n" if heatmaps else ""
    return f"""name: referee
dataset: {{path: '{dataset}', ids: {ids}}}
models: [{{name: model, path: '{model}'}}]
select: {{correct_for: none}}
sweep: {{windows: {{sizes: {sizes}}}, knockouts: [{{from: [subject, last, first, relation], to: last}}]}}
{maps}run: {{device: cpu, precision: {precision}, threads_per_rank: {threads}}}
"""


def run_factflow(program, text, directory, threads=1):
    """Results in directory/out. Seconds of the whole process: with one thread processor time, which other work on the machine disturbs less."""
    (directory / "run.yaml").write_text(text)
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads),
                                "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run([program, "run", directory / "run.yaml", "--out", directory / "out", "--fresh"], capture_output=True, text=True,
                           env=environment)
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode:
        sys.exit(ended.stdout + ended.stderr)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime if threads == 1 else wall
