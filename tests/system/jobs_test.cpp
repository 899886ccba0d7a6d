// Profiles, batch scripts and submissions, with a stand-in for sbatch. slurm_test.sh has the real
// one.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>

#include <gmock/gmock.h>

#include "base/child_process.hpp"
#include "base/error.hpp"
#include "base/files.hpp"
#include "jobs/job_queue.hpp"
#include "jobs/job_size.hpp"
#include "jobs/submission.hpp"
#include "tests/pipeline/coordination/faulty_files.hpp"
#include "tests/source_dir.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow {
namespace {

std::unique_ptr<testing::FaultyFiles>& faulty_files() {
  static auto files = std::make_unique<testing::FaultyFiles>();
  return files;
}

}  // namespace

// In place of base/system_files.cpp.
FileOperations& system_files() {
  return *faulty_files();
}

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

BatchRun example() {
  return {.name = "demo",
          .config = "/runs/demo/submit.yaml",
          .directory = "/runs/demo",
          .start = "/home/me",
          .program = "/opt/factflow"};
}

void expect_refused(const std::string& yaml, const std::string& words) {
  try {
    parse_profile(yaml, "p.yaml");
    ADD_FAILURE() << "accepted: " << yaml;
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("p.yaml"));
    EXPECT_THAT(error.what(), HasSubstr(words));
  }
}

TEST(Profile, DefaultsAndValues) {
  EXPECT_EQ(parse_profile("{}", "p.yaml"), SlurmProfile{});
  const SlurmProfile profile = parse_profile(
      "partition: gpu\nlauncher: srun\nmodules: [gcc/12, openmpi]\nenvironment: {A: 1}\nanalysis: "
      "{cpus: "
      "2}\nrequeue: false\n",
      "p.yaml");
  EXPECT_EQ(profile.partition, "gpu");
  EXPECT_EQ(profile.launcher, Launcher::kSrun);
  EXPECT_THAT(profile.modules, ElementsAre("gcc/12", "openmpi"));
  EXPECT_EQ(profile.environment.at("A"), "1");
  EXPECT_EQ(profile.analysis.cpus, 2);
  EXPECT_FALSE(profile.requeue);
}

TEST(Profile, ErrorsNameLineAndKey) {
  expect_refused("account: a\npartitoin: gpu\n",
                 "p.yaml:2: key partitoin: unknown key 'partitoin', did you mean 'partition'?");
  expect_refused("nodes: 0\n", "p.yaml:1: key nodes");
  expect_refused("launcher: mpiexec\n", "unknown launcher 'mpiexec'");
  expect_refused("partition: 'gpu --wrap=rm'\n", "key partition");
  expect_refused("partition: \"gpu\\n#SBATCH --uid=0\"\n", "key partition");
  expect_refused("setup: [\"a\\nb\"]\n", "key setup");
  expect_refused("environment: {'A B': 1}\n", "is no name of a variable");
  expect_refused("environment: [A]\n", "expected a mapping");
  expect_refused("options: [-x]\n", "--reservation=lab");
  expect_refused("gpu_type: h100\n", "gpus_per_node is 0");
  expect_refused("signal_lead: 70000\n", "key signal_lead");
  expect_refused("inherit: ['A B']\n", "is no name of a variable");
}

TEST(Profile, TimesSayWhatTheyMean) {
  const auto time = [](const std::string& text) {
    return parse_profile("time: '" + text + "'\n", "p.yaml").time;
  };
  for (const char* as_it_is : {"04:00:00", "100:00:00", "1-12:00:00", "1-12", "2-00:30", "plan"})
    EXPECT_EQ(time(as_it_is), as_it_is);
  EXPECT_EQ(time("4h"), "0-04:00:00");
  EXPECT_EQ(time("90 min"), "0-01:30:00");
  EXPECT_EQ(time("1d 12h"), "1-12:00:00");
  EXPECT_EQ(time("2 days"), "2-00:00:00");
  EXPECT_EQ(time("1h30m"), "0-01:30:00");
  EXPECT_EQ(time("default"), "");
  EXPECT_EQ(time("unlimited"), "UNLIMITED");
  expect_refused("time: 240\n",
                 "p.yaml:1: key time: expected a time limit such as 4h, 90min, 04:00:00 or "
                 "1-12:00:00, found '240'; sbatch takes this for minutes: write 240min, or 240h");
  expect_refused("time: '04:00'\n",
                 "minutes and seconds: write 00:04:00, or 04:00:00 for hours and minutes");
  expect_refused("time: 0\n", "key time");
  expect_refused("time: '00:00:00'\n", "write unlimited");
  for (const char* bad : {"4 hours or so", "4x", "h", "1:2:3:4", "00:99:00", "1-25:00:00", "-1",
                          "1h 2h", "30m 1h", "1.5h", "4h30", "12345678901:00:00", "''"})
    expect_refused(std::string("time: ") + bad + "\n", "key time");
  expect_refused("analysis: {time: 60}\n", "key analysis.time");
}

TEST(Profile, SizesSayWhatTheyMean) {
  const auto memory = [](const std::string& text) {
    return parse_profile("memory: " + text + "\n", "p.yaml").memory;
  };
  for (const char* as_it_is : {"64G", "500M", "1T", "plan"}) EXPECT_EQ(memory(as_it_is), as_it_is);
  EXPECT_EQ(memory("64 GiB"), "64G");
  EXPECT_EQ(memory("64gb"), "64G");
  EXPECT_EQ(memory("1.5G"), "1536M");
  EXPECT_EQ(memory("all"), "0");
  EXPECT_EQ(memory("default"), "");
  expect_refused("memory: 64\n",
                 "p.yaml:1: key memory: expected a size such as 64G or 500M, found '64'; sbatch "
                 "takes this for 64 MiB: write 64G, or 64M");
  expect_refused("memory: 0\n", "write all");
  for (const char* bad : {"64X", "G", "-1G", "0G", "64 G B", "1.2.3G", "99999999G", "64 Gx"})
    expect_refused(std::string("memory: ") + bad + "\n", "key memory");
  expect_refused("analysis: {memory: 8}\n", "key analysis.memory");
}

TEST(Profile, TheSignalComesBeforeTheLimitNotAtTheStart) {
  expect_refused("time: 5min\nsignal_lead: 300\n",
                 "p.yaml:2: key signal_lead: is 300 s, and the time limit 300 s: every job would "
                 "be told to stop at once");
  expect_refused("time: '00:04:00'\n", "p.yaml:1: key signal_lead: is 300 s");
  EXPECT_EQ(parse_profile("time: 5min\nsignal_lead: 299\n", "p.yaml").signal_lead, 299);
  EXPECT_THAT(doubt_about(parse_profile("time: 5min\nsignal_lead: 240\n", "p.yaml")),
              HasSubstr("a job of 300 s is told to stop 240 s before its end"));
  EXPECT_EQ(doubt_about(parse_profile("time: 5min\nsignal_lead: 239\n", "p.yaml")), "");
  EXPECT_EQ(parse_profile("time: unlimited\nsignal_lead: 65535\n", "p.yaml").signal_lead, 65535);
}

TEST(Profile, OptionsOnWhichASubmissionDependsAreNoFurtherOptions) {
  expect_refused("options: [--time=1]\n", "say it with the key time");
  expect_refused("options: [--signal=B:USR1@9]\n", "say it with the key signal_lead");
  expect_refused("options: [--exp=ALL]\n", "keys environment and inherit");
  expect_refused("options: [--wait]\n", "does not wait");
  EXPECT_EQ(
      parse_profile("options: [--wait-all-nodes=1, --mem-bind=local, --clusters=a]\n", "p.yaml")
          .options.size(),
      3U);
}

TEST(Profile, ShippedOnesAreGood) {
  int profiles = 0;
  for (const auto& entry : std::filesystem::directory_iterator(source_dir() + "/configs/slurm")) {
    EXPECT_NO_THROW(run_script(read_profile(entry.path()), example())) << entry.path();
    ++profiles;
  }
  EXPECT_GT(profiles, 0);
}

TEST(JobSize, MemoryAndTimeComeFromThePlan) {
  SlurmProfile profile = parse_profile(
      "time: plan\nrates: some GPU\nranks_per_node: 4\ngpus_per_node: 4\nnodes: 2\n", "p.yaml");
  BatchRun run = example();
  fill_in(profile, run, {100, std::int64_t{4} << 30, 36'000});
  EXPECT_EQ(profile.memory, "20G");       // 4 ranks x 4 GiB and a quarter to spare
  EXPECT_EQ(profile.time, "0-02:40:00");  // 2 x 10 h / 8 ranks + 10 min
  EXPECT_EQ(profile.nodes * profile.ranks_per_node, 8);
  SlurmProfile array = parse_profile("ranks_per_node: 4\n", "p.yaml");
  run.array = 300;
  fill_in(array, run, {100, std::int64_t{4} << 30, 0});
  EXPECT_EQ(run.array, 100) << "more jobs than units";
  EXPECT_EQ(array.memory, "5G");
  EXPECT_EQ(array.time, "");
}

TEST(JobSize, ThePlansTimeIsLongerThanTheWarning) {
  SlurmProfile profile =
      parse_profile("time: plan\nrates: some GPU\nsignal_lead: 3600\n", "p.yaml");
  BatchRun run = example();
  fill_in(profile, run, {100, 1, 10});
  EXPECT_EQ(profile.time, "0-01:10:00");
  EXPECT_EQ(profile.memory, "1G");
}

TEST(JobSize, NoMoreRanksThanUnits) {
  SlurmProfile profile =
      parse_profile("memory: 8G\nranks_per_node: 4\ngpus_per_node: 4\nnodes: 8\n", "p.yaml");
  BatchRun run = example();
  SlurmProfile some = profile, few = profile;
  fill_in(some, run, {9, 1, 0});
  EXPECT_EQ(some.nodes, 3);
  EXPECT_EQ(some.ranks_per_node, 4);
  fill_in(few, run, {3, 1, 0});
  EXPECT_EQ(few.nodes, 1);
  EXPECT_EQ(few.ranks_per_node, 3);
  EXPECT_EQ(few.gpus_per_node, 3);
  EXPECT_EQ(few.memory, "8G");
}

TEST(JobSize, ATimeThatIsNotKnownIsRefused) {
  SlurmProfile profile = parse_profile("time: plan\n", "p.yaml");
  BatchRun run = example();
  EXPECT_THROW(fill_in(profile, run, {9, 1, 0}), InputError);
}

TEST(BatchScript, OneMpiJob) {
  SlurmProfile profile;
  profile.nodes = 2;
  profile.ranks_per_node = 4;
  profile.gpus_per_node = 4;
  profile.gpu_type = "h100";
  profile.environment = {{"A", "it's; $HOME"}};
  const std::string script = run_script(profile, example());
  for (const char* line :
       {"#!/bin/bash\n", "#SBATCH --nodes=2\n", "#SBATCH --ntasks-per-node=4\n",
        "#SBATCH --gres=gpu:h100:4\n", "#SBATCH --signal=B:USR1@300\n", "#SBATCH --requeue\n",
        "#SBATCH --output=\"/runs/demo/logs/run-%j.log\"\n", "export A='it'\\''s; $HOME'\n",
        "mpirun --bind-to none -n 8 '/opt/factflow' run '/runs/demo/submit.yaml' --out "
        "'/runs/demo'"})
    EXPECT_THAT(script, HasSubstr(line));
  EXPECT_THAT(script, Not(HasSubstr("--share")));
}

TEST(BatchScript, ArrayOfSingleProcesses) {
  SlurmProfile profile;
  profile.ranks_per_node = 4;
  profile.gpus_per_node = 4;
  BatchRun run = example();
  run.array = 7;
  const std::string script = run_script(profile, run);
  for (const char* line : {"#SBATCH --array=1-7\n", "#SBATCH --ntasks-per-node=1\n",
                           "#SBATCH --gres=gpu:1\n", "run-%A_%a.log", " --share &\n"})
    EXPECT_THAT(script, HasSubstr(line));
  EXPECT_THAT(script, Not(HasSubstr("mpirun")));
}

TEST(BatchScript, SrunAndContainer) {
  SlurmProfile profile;
  profile.launcher = Launcher::kSrun;
  profile.cpus_per_rank = 8;
  profile.container = "/images/my factflow.sif";
  EXPECT_THAT(run_script(profile, example()),
              HasSubstr("srun --mpi=pmix --kill-on-bad-exit=1 --cpus-per-task=8 apptainer exec "
                        "'/images/my factflow.sif' '/opt/factflow' run"));
}

TEST(BatchScript, TheEnvironmentIsTheProfiles) {
  SlurmProfile profile;
  profile.modules = {"openmpi/4"};
  profile.environment = {{"A", "from the profile"}};
  BatchRun run = example();
  run.variables = {{"PATH", "/opt/mpi/bin:/bin"}};
  for (const std::string& script : {run_script(profile, run), analysis_script(profile, run)}) {
    EXPECT_THAT(script, HasSubstr("#SBATCH --export=NONE\n"));
    const size_t srun = script.find("export SLURM_EXPORT_ENV=ALL\n"),
                 module = script.find("type module > /dev/null 2>&1 || . /etc/profile\n"),
                 path = script.find("export PATH='/opt/mpi/bin:/bin'\n"),
                 load = script.find("module load openmpi/4\n"),
                 set = script.find("export A='from the profile'\n"),
                 start = script.find("'/opt/factflow'");
    EXPECT_LT(srun, module);
    EXPECT_LT(module, path);
    EXPECT_LT(path, load);
    EXPECT_LT(load, set);
    EXPECT_LT(set, start);
    EXPECT_NE(start, std::string::npos);
  }
  EXPECT_THAT(run_script({}, run), Not(HasSubstr("/etc/profile")));
}

TEST(BatchScript, TheUnitsInWorkHaveMostOfTheWarning) {
  const auto script = [](std::int64_t lead) {
    SlurmProfile profile;
    profile.signal_lead = lead;
    return run_script(profile, example());
  };
  EXPECT_THAT(script(300), HasSubstr(" --stop-within 240 "));
  EXPECT_THAT(script(3600), HasSubstr(" --stop-within 2880 "));
  EXPECT_THAT(script(60), HasSubstr(" --stop-within 30 "));
  EXPECT_THAT(script(1), HasSubstr(" --stop-within 0 "));
}

// The script itself, run by bash: `setup` stands before the launch, `program` in the run's place.
// A signal comes after 0.5 s.
std::string signalled(const std::string& setup, const std::string& program, const char* signal) {
  const TemporaryDirectory scratch;
  SlurmProfile profile;
  profile.setup = {setup};
  BatchRun run = example();
  run.array = 1;
  run.program = scratch.write("program", "#!/bin/bash\n" + program);
  std::filesystem::permissions(run.program, std::filesystem::perms::owner_all);
  const std::string script = scratch.write("script", run_script(profile, run));
  const ChildOutput output =
      run_child({.words = {"bash", "-c",
                           "bash " + script + " & sleep 0.5; kill -" + signal +
                               " $!; wait $!; echo \"ended with $?\""},
                 .patience = std::chrono::seconds(20)});
  EXPECT_FALSE(output.timed_out);
  return output.out;
}

TEST(BatchScript, PassesSignalsOnWheneverTheyCome) {
  const std::string program =
      "if [ \"$1\" = status ]; then exit 1; fi\ntrap 'echo told; exit 3' USR1\necho begun\n"
      "for i in $(seq 100); do sleep 0.1; done\n";
  EXPECT_EQ(signalled("true", program, "USR1"), "begun\ntold\nended with 3\n");
  EXPECT_EQ(signalled("true", program, "TERM"), "begun\ntold\nended with 3\n");
  EXPECT_EQ(signalled("sleep 1", program, "USR1"), "ended with 1\n") << "nothing is begun any more";
}

TEST(BatchScript, AnalysisNeedsNoGpu) {
  SlurmProfile profile;
  profile.gpus_per_node = 4;
  profile.partition = "gpu";
  profile.analysis.partition = "cpu";
  const std::string script = analysis_script(profile, example());
  EXPECT_THAT(script, HasSubstr("#SBATCH --partition=cpu\n"));
  EXPECT_THAT(script, HasSubstr("'/opt/factflow' analyse '/runs/demo'\n"));
  EXPECT_THAT(script, Not(HasSubstr("gres")));
}

TEST(BatchScript, PathsAreQuotedOrRefused) {
  BatchRun run = example();
  run.directory = "/runs/it's 100%";
  const std::string script = run_script({}, run);
  EXPECT_THAT(script, HasSubstr("--out '/runs/it'\\''s 100%'"));
  EXPECT_THAT(script, HasSubstr("--output=\"/runs/it's 100%%/logs/"));
  for (const char* bad : {"/runs/a\nb", "/runs/a\"b", "/runs/a\\b"}) {
    run.directory = bad;
    EXPECT_THROW(run_script({}, run), InputError) << bad;
  }
}

// A PATH with an sbatch, squeue and sacct of our own.
class StandIn : public ::testing::Test {
 protected:
  StandIn() {
    program("sbatch",
            "echo \"$@\" >> " + calls() + "\necho $((100 + $(wc -l < " + calls() + ")))\n");
    program("squeue", "exit 1\n");
    program("sacct", "exit 1\n");
    ::setenv("PATH", (scratch_.path().string() + ":" + path_).c_str(), 1);
    run_.directory = scratch_.path() / "run";
    run_.config = run_.directory / "submit.yaml";
    run_.mark = "1a2b";
    write_scripts(profile_, run_, "name: demo\n");
  }
  ~StandIn() override { ::setenv("PATH", path_.c_str(), 1); }
  void program(const std::string& name, const std::string& body) const {
    const std::string file = scratch_.write(name, "#!/bin/sh\n" + body);
    std::filesystem::permissions(file, std::filesystem::perms::owner_all);
  }
  std::string calls() const { return (scratch_.path() / "calls").string(); }
  void expect_run_error(const std::string& words, const std::string& more) const {
    try {
      submit(profile_, run_);
      ADD_FAILURE() << "accepted";
    } catch (const RunError& error) {
      EXPECT_THAT(error.what(), HasSubstr(words));
      EXPECT_THAT(error.what(), HasSubstr(more));
    }
  }
  // Nothing may be submitted, nor its files written.
  template <class E>
  void expect_locked(const std::string& words, const std::string& more) const {
    try {
      const SubmissionLock lock(run_.directory);
      ADD_FAILURE() << "not locked";
    } catch (const E& error) {
      EXPECT_THAT(error.what(), HasSubstr(words));
      EXPECT_THAT(error.what(), HasSubstr(more));
    }
  }

  TemporaryDirectory scratch_;
  std::string path_ = std::getenv("PATH");
  SlurmProfile profile_;
  BatchRun run_ = example();
};

TEST_F(StandIn, FollowUpsStartOnlyAfterFailuresAndTheAnalysisAfterASuccess) {
  const Submission submission = submit(profile_, run_);
  EXPECT_THAT(submission.runs, ElementsAre("101", "102", "103"));
  EXPECT_EQ(submission.analysis, "104");
  const std::string text = read_file(calls());
  EXPECT_THAT(text, HasSubstr("--dependency=afternotok:101 --kill-on-invalid-dep=yes"));
  EXPECT_THAT(text,
              HasSubstr("--dependency=afternotok:101,afternotok:102 --kill-on-invalid-dep=yes"));
  EXPECT_THAT(
      text,
      HasSubstr("--dependency=afterok:101?afterok:102?afterok:103 --kill-on-invalid-dep=yes"));
  EXPECT_EQ(read_submission(run_.directory)->all(), submission.all());
  EXPECT_FALSE(read_submission(run_.directory)->one_more);
}

TEST_F(StandIn, SchedulersSeeNoneOfTheCallersVariables) {
  const std::map<std::string, std::string> hostile = {
      {"SBATCH_TIMELIMIT", "1"},   {"SBATCH_EXPORT", "ALL"},      {"SLURM_MEM_PER_CPU", "1"},
      {"SLURM_CLUSTERS", "other"}, {"SQUEUE_FORMAT", "%i"},       {"SQUEUE_STATES", "CANCELLED"},
      {"SACCT_FORMAT", "User"},    {"OMPI_COMM_WORLD_SIZE", "9"}, {"OMP_NUM_THREADS", "9"}};
  for (const auto& [name, value] : hostile) ::setenv(name.c_str(), value.c_str(), 1);
  ::setenv("SLURM_CONF", "/etc/slurm/this.conf", 1);
  const std::string note = "env >> " + (scratch_ / "seen").string() + "\n";
  program("sbatch", note + "echo 101\n");
  program("squeue", note);
  program("sacct", note);
  submit(profile_, run_);
  job_states({{"101"}});
  for (const auto& [name, value] : hostile) ::unsetenv(name.c_str());
  ::unsetenv("SLURM_CONF");
  const std::string seen = read_file(scratch_ / "seen");
  for (const auto& [name, value] : hostile) EXPECT_THAT(seen, Not(HasSubstr(name)));
  EXPECT_THAT(seen, HasSubstr("SLURM_CONF=/etc/slurm/this.conf"));
}

TEST_F(StandIn, ASitesRemarksHideNoJob) {
  program("sbatch",
          "echo 'Budget of project 42: 17 h left.'; echo; echo 101; echo '*** Maintenance "
          "on 24-12 ***'\n");
  EXPECT_THAT(submit(profile_, run_).runs, ElementsAre("101", "101", "101"));
  program("sbatch", "echo 'Submitted batch job 77 on cluster big'\n");
  const Submission spoken = submit(profile_, run_);
  EXPECT_EQ(spoken.runs[0], "77");
  EXPECT_EQ(spoken.cluster, "big");
}

TEST_F(StandIn, TheClustersNameIsKept) {
  program("sbatch", "echo \"$@\" >> " + calls() + "\necho 'welcome'; echo '7;big-one'\n");
  const Submission submission = submit(profile_, run_);
  EXPECT_EQ(submission.cluster, "big-one");
  EXPECT_THAT(submission.scancel(),
              ElementsAre("scancel", "--clusters=big-one", "7", "7", "7", "7"));
  const std::string asked = read_file(calls());
  EXPECT_THAT(asked.substr(0, asked.find('\n')), Not(HasSubstr("--clusters")));
  EXPECT_THAT(asked.substr(asked.find('\n')), HasSubstr("--clusters=big-one --dependency"));
  const Submission found = read_submission(run_.directory).value();
  EXPECT_EQ(found.cluster, "big-one");
  program("squeue", "echo \"$@\" > " + calls() +
                        "\necho 'CLUSTER: big-one'\n"
                        "echo '7|RUNNING|None, 0:10'\n");
  EXPECT_EQ(queued_jobs(found.asked()).jobs.size(), 1U);
  EXPECT_EQ(queued_jobs(found.asked()).problem, "");
  EXPECT_THAT(read_file(calls()), HasSubstr("--clusters=big-one"));
}

TEST_F(StandIn, AClusterThatTheProfileNamesIsAskedToo) {
  program("sbatch", "echo hm\n");
  profile_.options = {"--clusters=one,two"};
  expect_run_error("--clusters=one,two", "whether it took the job is not known");
  program("squeue", "case \"$*\" in *--clusters=one,two*) echo '9|RUNNING|None, 0:10';; esac\n");
  expect_locked<InputError>("jobs 9 of an earlier submission", "scancel --clusters=one,two 9");
}

TEST_F(StandIn, ARefusedJobSaysWhatIsSubmittedAlready) {
  program("sbatch",
          "echo x >> " + calls() + "\n[ $(wc -l < " + calls() +
              ") -lt 2 ] && echo '7;cluster' && exit 0\necho 'error: limit' >&2; exit 1\n");
  expect_run_error("error: limit", "jobs 7 are submitted already, `scancel --clusters=cluster 7`");
  EXPECT_THAT(read_submission(run_.directory)->runs, ElementsAre("7"));
  EXPECT_FALSE(read_submission(run_.directory)->one_more);
}

TEST_F(StandIn, ARefusalLeavesTheEarlierRecord) {
  program("sbatch", "echo 'error: no such partition' >&2; exit 1\n");
  expect_run_error("no such partition", "sbatch refused the job");
  EXPECT_FALSE(read_submission(run_.directory));
  program("sbatch", "echo 11\n");
  submit(profile_, run_);
  program("sbatch", "exit 1\n");
  expect_run_error("sbatch refused the job", "exit code 1");
  EXPECT_THAT(read_submission(run_.directory)->runs, ElementsAre("11", "11", "11"));
}

// Whatever the answer may mean: nothing is submitted on top of it, now or later.
TEST_F(StandIn, AnAnswerThatIsNotUnderstoodEndsTheSubmission) {
  for (const char* answer :
       {"echo 'Thank you for your job.'", "true", "echo 101; echo 102", "echo 101; exit 1",
        "echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv "
        "operation' >&2; exit 1",
        "kill -9 $$", "echo '101;a b'", "echo 'job 101'"}) {
    std::filesystem::remove(run_.directory / "submit.json");
    std::filesystem::remove(calls());
    program("sbatch", "echo x >> " + calls() + "\n" + answer + "\n");
    expect_run_error("whether it took the job is not known",
                     "squeue --name=factflow-demo-1a2b,factflow-demo-1a2b-analysis");
    EXPECT_EQ(read_file(calls()), "x\n") << answer;
    ASSERT_TRUE(read_submission(run_.directory)) << answer;
    EXPECT_TRUE(read_submission(run_.directory)->one_more) << answer;
  }
  program("squeue",
          "case \"$*\" in *--name=factflow-demo-1a2b,*) echo '101|PENDING|Priority, "
          "0:00';; esac\n");
  expect_locked<InputError>("jobs 101 of an earlier submission are in the queue", "scancel 101");
  program("squeue", "exit 1\n");
  expect_locked<RunError>("cannot be asked", "squeue ended with exit code 1");
  program("squeue", "true\n");
  const SubmissionLock lock(run_.directory);
  program("sbatch", "echo 5\n");
  EXPECT_EQ(submit(profile_, run_).runs[0], "5");
}

TEST_F(StandIn, JobsInTheQueueAreNotSubmittedAgain) {
  submit(profile_, run_);
  program("squeue", "echo '101|RUNNING|None, 0:10'\n");
  expect_locked<InputError>("jobs 101, 102, 103, 104 of an earlier submission are in the queue",
                            "scancel 101 102 103 104");
}

TEST_F(StandIn, AQueueThatCannotBeAskedIsNotEmpty) {
  submit(profile_, run_);
  const std::map<std::string, std::string> answers = {
      {"echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1",
       "Unable to contact slurm controller"},
      {"echo 'Down for maintenance'", "squeue's answer is not understood: 'Down for maintenance'"},
      {"exit 127", "squeue is not on this machine"},
      {"kill -9 $$", "squeue was ended by signal 9"}};
  for (const auto& [answer, reason] : answers) {
    program("squeue", answer + "\n");
    expect_locked<RunError>(
        "whether jobs 101, 102, 103, 104 of an earlier submission are in the "
        "queue cannot be asked",
        reason);
    EXPECT_THAT(job_states({{"101"}}).problem, HasSubstr(reason));
  }
}

TEST_F(StandIn, AJobThatSlurmHasForgottenIsAnAnswer) {
  submit(profile_, run_);
  for (const char* answer : {"echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1",
                             "true", "echo '999|RUNNING|None, 0:10'"}) {
    program("squeue", std::string(answer) + "\n");
    EXPECT_NO_THROW(SubmissionLock(run_.directory)) << answer;
  }
}

TEST_F(StandIn, ASchedulerThatHangsIsGivenUp) {
  submit(profile_, run_);
  program("squeue", "sleep 1000\n");
  expect_locked<RunError>("cannot be asked", "squeue gave no answer within 20.0 s");
}

TEST_F(StandIn, OneSubmitAtATime) {
  const SubmissionLock lock(run_.directory);
  expect_locked<InputError>("another factflow submit is at work", "wait");
}

TEST_F(StandIn, StatesComeFromTheQueueAndTheAccounts) {
  program("squeue", "echo '12_[2-3]|PENDING|Resources, 0:00'\n");
  program("sacct", "echo '12_1|COMPLETED|00:01:00'; echo '11|FAILED|00:00:05'; echo broken\n");
  const std::vector<JobState> states = job_states({{"11", "12"}}).jobs;
  ASSERT_EQ(states.size(), 3U);
  EXPECT_EQ(states[0].id, "11");
  EXPECT_EQ(states[1].state, "PENDING");
  EXPECT_EQ(states[2].detail, "00:01:00");
  program("squeue", "true\n");
  program("sacct", "exit 1\n");
  EXPECT_TRUE(job_states({{"11"}}).jobs.empty());
  EXPECT_EQ(job_states({{"11"}}).problem, "");
}

// The disk fills up at any step: a job that was taken is on record, or the record says that there
// may be one more, and the message names it.
TEST_F(StandIn, AFullDiskLosesNoJob) {
  for (int step = 1;; ++step) {
    std::filesystem::remove(run_.directory / "submit.json");
    std::filesystem::remove(calls());
    faulty_files() = std::make_unique<testing::FaultyFiles>();
    faulty_files()->fault = testing::FaultyFiles::Fault::kNoSpace;
    faulty_files()->fail_at = step;
    std::string said;
    try {
      submit(profile_, run_);
    } catch (const RunError& error) {
      said = error.what();
    }
    faulty_files() = std::make_unique<testing::FaultyFiles>();
    if (said.empty()) break;
    ASSERT_LT(step, 100);
    const std::string asked = std::filesystem::exists(calls()) ? read_file(calls()) : "";
    const auto jobs = std::count(asked.begin(), asked.end(), '\n');
    for (auto i = 1; i <= jobs; ++i) EXPECT_THAT(said, HasSubstr(std::to_string(100 + i))) << step;
    const std::optional<Submission> found = read_submission(run_.directory);
    if (jobs == 0) continue;
    ASSERT_TRUE(found) << step;
    EXPECT_TRUE(found->one_more || static_cast<std::ptrdiff_t>(found->all().size()) == jobs)
        << step;
  }
}

TEST_F(StandIn, ADamagedRecordIsRefused) {
  for (const char* text :
       {"", "[]", R"({"runs": ["1; rm"], "analysis": ""})", R"({"runs": 3, "analysis": ""})",
        R"({"runs": [], "analysis": "", "cluster": "a b"})",
        R"({"runs": [], "analysis": "", "names": ["--all"]})"}) {
    scratch_.write("run/submit.json", text);
    EXPECT_THROW(read_submission(run_.directory), InputError) << text;
  }
}

}  // namespace
}  // namespace factflow
