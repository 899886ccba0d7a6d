#!/usr/bin/env bash
# Submits small runs to a real SLURM on this machine: munged, slurmctld and slurmd in a temporary directory, with ports of
# their own. Needs root and Debian's slurm-wlm and munge; exit code 77 says that it was skipped.
# usage: slurm_test.sh FACTFLOW COMPARE_RESULTS
set -u
factflow=$1 compare=$2
cd "$(dirname "$0")/../.."
[ "$(id -u)" -eq 0 ] || { echo "skipped: needs root"; exit 77; }
for program in munged slurmctld slurmd sbatch; do
  command -v $program > /dev/null || { echo "skipped: needs $program (Debian: slurm-wlm munge)"; exit 77; }
done

work=$(mktemp -d /tmp/factflow-slurm-XXXXXX)
chmod 755 "$work"
daemons=()
finish() {
  code=$?
  [ "${SLURM_CONF:-}" = "$work/slurm.conf" ] && scancel --user=root > /dev/null 2>&1
  for pid in "${daemons[@]}"; do kill "$pid" 2> /dev/null; done
  wait
  if [ $code -eq 0 ]; then rm -rf "$work"; else echo "left for inspection: $work"; fi
  exit $code
}
trap finish EXIT
fail() { echo "FAILED: $*"; exit 1; }

# ---- a cluster of one node

start_cluster() {
  host=$(hostname -s)
  port=$((20000 + $$ % 20000))
  mkdir "$work/state" "$work/spool"
  dd if=/dev/urandom of="$work/key" bs=1024 count=1 2> /dev/null
  chmod 400 "$work/key"
  cat > "$work/slurm.conf" << END
ClusterName=factflow-test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge.socket
CryptoType=crypto/munge
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_min_interval=100000
ReturnToService=2
MailProg=/bin/true
KillWait=20
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
  export SLURM_CONF=$work/slurm.conf
  munged --foreground --force --key-file="$work/key" --socket="$work/munge.socket" --pid-file="$work/munge.pid" \
    --log-file="$work/munge.log" --seed-file="$work/munge.seed" > "$work/munged.out" 2>&1 &
  daemons+=($!)
  until [ -S "$work/munge.socket" ]; do sleep 0.1; kill -0 "${daemons[0]}" || fail "munged did not start"; done
  slurmctld -D > "$work/slurmctld.out" 2>&1 &
  cluster_started=$SECONDS
  daemons+=($!)
  slurmd -D > "$work/slurmd.out" 2>&1 &
  daemons+=($!)
  for _ in $(seq 300); do
    sinfo --noheader --format=%T 2> /dev/null | grep -q idle && return
    sleep 0.2
  done
  fail "the node did not come up"
}

# ---- what the cases need

config() { # PROMPTS
  cat > "$work/config.yaml" << END
name: slurm
dataset: {path: $PWD/demo/facts.jsonl, limit: $1}
models:
  - {name: gpt2, path: $PWD/demo/models/gpt2}
  - {name: mamba, path: $PWD/demo/models/mamba}
  - {name: mamba2, path: $PWD/demo/models/mamba2}
sweep:
  windows: {sizes: [1, 2, 3, 4, 5, 6, 7, 8]}
  knockouts:
    - {from: [subject, relation, first, last, context], to: last}
    - {from: [context, subject], to: subject}
heatmaps: {window: 5, prompts: 9}
run: {device: cpu, threads_per_rank: 1}
END
}

profile() { # RANKS LAUNCHER TIME LEAD [FOLLOW_UPS]
  cat > "$work/profile.yaml" << END
partition: main
time: "$3"
ranks_per_node: $1
cpus_per_rank: 1
launcher: $2
signal_lead: $4
follow_ups: ${5:-2}
setup: ["env | sort > $work/environment.\$SLURM_JOB_ID"]
environment: {OMPI_ALLOW_RUN_AS_ROOT: 1, OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: 1, OMPI_MCA_rmaps_base_oversubscribe: 1}
memory: default
analysis: {time: "00:10:00"}
END
}

submit() { # NAME [OPTIONS]
  local name=$1
  shift
  "$factflow" submit "$work/config.yaml" --profile "$work/profile.yaml" --out "$work/$name" "$@" > "$work/$name.submitted" ||
    fail "$name: submit exits with $?"
  jobs=$(sed -n 's/^end all of it: scancel //p' "$work/$name.submitted")
  first=${jobs%% *}
}

wait_for_results() { # until the journal of NAME holds results
  for _ in $(seq 1200); do
    [ "$(cat "$work/$1"/journal/*.journal 2> /dev/null | wc -c)" -gt 1000 ] && return
    sleep 0.1
  done
  fail "$1: no results appear"
}

# Until status shows that the first job of NAME runs. Asked from the submission on: the job may end seconds after its
# first results.
wait_for_status() {
  while squeue --noheader --format %A | grep -qx "$first"; do
    "$factflow" status "$work/$1" 2> /dev/null | grep -q "$first: RUNNING" && return
  done
  fail "$1: status does not show the running job"
}

wait_for_queue() {
  for _ in $(seq 3000); do
    [ -z "$(squeue --noheader)" ] && return
    sleep 0.2
  done
  squeue
  fail "jobs do not end"
}

expect_finished() { # NAME
  wait_for_queue
  "$factflow" status "$work/$1" --complete > "$work/$1.status" || { cat "$work/$1"/logs/*; fail "$1: not complete"; }
  [ -s "$work/$1/report.html" ] || { cat "$work/$1"/logs/*; fail "$1: no analysis"; }
  [ -e "$work/whole/results.h5" ] && { "$compare" "$work/whole/results.h5" "$work/$1/results.h5" || fail "$1: other results"; }
  echo "passed: $1"
}

logs_of_runs() { ls "$work/$1"/logs/run-*.log 2> /dev/null | wc -l; }

# ---- the cases

undisturbed() {
  submit whole
  wait_for_status whole
  "$factflow" submit "$work/config.yaml" --profile "$work/profile.yaml" --out "$work/whole" > /dev/null 2> "$work/second"
  [ $? -eq 2 ] && grep -q "in the queue" "$work/second" || fail "a second submission was not refused: $(cat "$work/second")"
  expect_finished whole
  [ "$(logs_of_runs whole)" -eq 1 ] || fail "follow-ups ran after a finished run"
}

# The profile decides, whatever the shell holds that submits, and the job sees nothing of that.
hostile() {
  (
    export SBATCH_TIMELIMIT=1 SBATCH_JOB_NAME=other SBATCH_EXPORT=ALL SBATCH_ARRAY_INX=1-9 SBATCH_MEM_PER_CPU=1 SLURM_MEM_PER_CPU=1 \
      SLURM_NTASKS=9 SLURM_TIMELIMIT=1 SLURM_EXPORT_ENV=NONE OMP_NUM_THREADS=97 OPENBLAS_NUM_THREADS=97 OMPI_MCA_btl=none \
      OMPI_COMM_WORLD_SIZE=9 HF_HOME=/nowhere GNUTERM=x11
    submit hostile
  ) || exit 1
  jobs=$(sed -n 's/^end all of it: scancel //p' "$work/hostile.submitted")
  first=${jobs%% *}
  scontrol show job "$first" > "$work/hostile.job"
  grep -q "TimeLimit=00:10:00" "$work/hostile.job" || fail "the caller's time limit beat the profile: $(cat "$work/hostile.job")"
  grep -q "JobName=factflow-slurm-" "$work/hostile.job" || fail "the caller's name beat that of the job"
  expect_finished hostile
  grep -qE '^(SBATCH_|SLURM_MEM_PER_CPU|SLURM_TIMELIMIT|OMP_NUM|OPENBLAS|OMPI_MCA_btl=|OMPI_COMM|HF_|GNUTERM)' "$work/environment.$first" &&
    fail "the caller's variables are in the job: $(cat "$work/environment.$first")"
  grep -q "^SLURM_EXPORT_ENV=ALL" "$work/environment.$first" || fail "srun would pass nothing on"
}

unanswered() { # slurmctld neither answers nor refuses
  submit unanswered
  kill -STOP "${daemons[1]}"
  "$factflow" status "$work/unanswered" > "$work/unanswered.status" || fail "status of a run whose queue does not answer"
  grep -q "the queue could not be asked: squeue" "$work/unanswered.status" || fail "status says nothing of the queue: $(cat "$work/unanswered.status")"
  "$factflow" submit "$work/config.yaml" --profile "$work/profile.yaml" --out "$work/unanswered" > /dev/null 2> "$work/second"
  [ $? -eq 1 ] && grep -q "cannot be asked" "$work/second" || fail "submitted on top of a queue that does not answer: $(cat "$work/second")"
  kill -CONT "${daemons[1]}"
  expect_finished unanswered
}

with_srun() {
  srun --mpi=list 2>&1 | grep -q pmix || { echo "skipped: srun has no pmix"; return; }
  profile 2 srun 00:10:00 60
  submit srun
  expect_finished srun
  grep -q "2 ranks" "$work"/srun/logs/run-*.log || fail "srun did not start one run of two ranks"
}

signalled() { # what SLURM sends before the limit
  submit signalled
  wait_for_results signalled
  scancel --batch --signal=USR1 "$first"
  expect_finished signalled
  grep -q "the same command continues" "$work/signalled/logs/run-$first.log" || fail "the first job was not stopped by the signal"
  [ "$(logs_of_runs signalled)" -eq 2 ] || fail "expected one follow-up"
}

cancelled() {
  submit cancelled
  wait_for_results cancelled
  scancel $jobs
  wait_for_queue
  "$factflow" status "$work/cancelled" --complete > /dev/null && fail "it was finished before it could be cancelled"
  submit cancelled
  expect_finished cancelled
}

shared() {
  submit shared --array 3
  expect_finished shared
  [ "$(ls "$work"/shared/journal/share-*.journal | wc -l)" -eq 3 ] || fail "the three jobs did not share the run"
}

# A minute is the shortest limit, and slurmctld looks at its limits every 30 s, counted from its start: a job that begins in the
# second half of such a stretch and is to be told 50 s before its limit hears of it 10 to 15 s after its beginning.
wait_for_second_half() {
  local into=$(((SECONDS - cluster_started) % 30))
  [ $into -ge 15 ] && [ $into -le 18 ] || sleep $(((45 - into) % 30))
}

at_the_limit() {
  config 300
  "$factflow" run "$work/config.yaml" --out "$work/whole" > "$work/long.log" 2>&1 || fail "the long run"
  profile 1 mpirun 00:01:00 50 9  # a busy machine needs several
  wait_for_second_half
  submit limit
  wait_for_results limit
  expect_finished limit
  grep -q "the same command continues" "$work/limit/logs/run-$first.log" ||
    fail "the first job was not stopped before its limit: $(cat "$work/limit/logs/run-$first.log")"
  [ "$(logs_of_runs limit)" -ge 2 ] || fail "expected a follow-up"
  rm -r "$work/whole"
}

start_cluster
at_the_limit
config 40
profile 2 mpirun 00:10:00 60
undisturbed
hostile
unanswered
signalled
cancelled
shared
with_srun
