// Profiles, batch scripts and submissions, with a stand-in for sbatch. slurm_test.sh has the real
// one.
#include <cstdlib>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "base/files.hpp"
#include "jobs/job_queue.hpp"
#include "jobs/job_size.hpp"
#include "jobs/submission.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow {
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
}

TEST(Profile, ShippedOnesAreGood) {
  int profiles = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(FACTFLOW_SOURCE_DIR) + "/configs/slurm")) {
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
    write_scripts(profile_, run_, "name: demo\n");
  }
  ~StandIn() override { ::setenv("PATH", path_.c_str(), 1); }
  void program(const std::string& name, const std::string& body) const {
    const std::string file = scratch_.write(name, "#!/bin/sh\n" + body);
    std::filesystem::permissions(file, std::filesystem::perms::owner_all);
  }
  std::string calls() const { return (scratch_.path() / "calls").string(); }

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
}

TEST_F(StandIn, ARefusedJobSaysWhatIsSubmittedAlready) {
  program("sbatch",
          "echo x >> " + calls() + "\n[ $(wc -l < " + calls() +
              ") -lt 2 ] && echo '7;cluster' && exit 0\necho 'error: limit' >&2; exit 1\n");
  try {
    submit(profile_, run_);
    ADD_FAILURE() << "accepted";
  } catch (const RunError& error) {
    EXPECT_THAT(error.what(), HasSubstr("error: limit"));
    EXPECT_THAT(error.what(), HasSubstr("jobs 7 are submitted already"));
  }
  EXPECT_THAT(read_submission(run_.directory)->runs, ElementsAre("7"));
}

TEST_F(StandIn, JobsInTheQueueAreNotSubmittedAgain) {
  submit(profile_, run_);
  program("squeue", "echo '101|RUNNING|None, 0:10'\n");
  EXPECT_THROW(submit(profile_, run_), InputError);
}

TEST_F(StandIn, StatesComeFromTheQueueAndTheAccounts) {
  program("squeue", "echo '12_[2-3]|PENDING|Resources, 0:00'\n");
  program("sacct", "echo '12_1|COMPLETED|00:01:00'; echo '11|FAILED|00:00:05'; echo broken\n");
  const std::vector<JobState> states = job_states({"11", "12"});
  ASSERT_EQ(states.size(), 3U);
  EXPECT_EQ(states[0].id, "11");
  EXPECT_EQ(states[1].state, "PENDING");
  EXPECT_EQ(states[2].detail, "00:01:00");
  program("squeue", "exit 1\n");
  program("sacct", "exit 1\n");
  EXPECT_TRUE(job_states({"11"}).empty());
}

TEST_F(StandIn, ADamagedRecordIsRefused) {
  for (const char* text :
       {"", "[]", R"({"runs": ["1; rm"], "analysis": ""})", R"({"runs": 3, "analysis": ""})"}) {
    scratch_.write("run/submit.json", text);
    EXPECT_THROW(read_submission(run_.directory), InputError) << text;
  }
}

}  // namespace
}  // namespace factflow
