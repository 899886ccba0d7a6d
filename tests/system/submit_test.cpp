// `factflow submit` and `status` with a stand-in for SLURM (slurm_test.sh has the real one), and
// every command in an environment full of variables that are meant for others.
#include <cstdlib>
#include <map>

#include <gmock/gmock.h>

#include "base/child_process.hpp"
#include "base/files.hpp"
#include "tests/system/program.hpp"
#include "tests/system/results_difference.hpp"
#include "tests/system/scenario.hpp"
#include "tests/temporary_directory.hpp"

namespace factflow::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

// Left behind by schedulers, launchers and other programs, or set for them.
const Environment& hostile() {
  static const Environment variables = {{"SBATCH_TIMELIMIT", "1"},
                                        {"SBATCH_MEM_PER_NODE", "1"},
                                        {"SBATCH_EXPORT", "ALL"},
                                        {"SBATCH_PARTITION", "none"},
                                        {"SBATCH_ARRAY_INX", "1-99"},
                                        {"SBATCH_WAIT", "1"},
                                        {"SLURM_MEM_PER_CPU", "1"},
                                        {"SLURM_CLUSTERS", "none"},
                                        {"SLURM_JOB_ID", "4711"},
                                        {"SLURM_NTASKS", "8"},
                                        {"SLURM_PROCID", "3"},
                                        {"SLURM_STEP_NUM_TASKS", "8"},
                                        {"SLURM_TASK_PID", "1"},
                                        {"SLURM_EXPORT_ENV", "NONE"},
                                        {"SQUEUE_FORMAT", "%u"},
                                        {"SQUEUE_STATES", "CANCELLED"},
                                        {"OMPI_COMM_WORLD_SIZE", "8"},
                                        {"OMPI_COMM_WORLD_RANK", "3"},
                                        {"OMPI_COMM_WORLD_LOCAL_RANK", "3"},
                                        {"OMPI_UNIVERSE_SIZE", "8"},
                                        {"PMIX_RANK", "3"},
                                        {"PMI_RANK", "3"},
                                        {"PMI_SIZE", "8"},
                                        {"GNUTERM", "x11"},
                                        {"GNUPLOT_LIB", "/nowhere"},
                                        {"HF_HOME", "/nowhere"},
                                        {"HF_HUB_CACHE", "~/nowhere"},
                                        {"HF_HUB_OFFLINE", "0"},
                                        {"TRANSFORMERS_CACHE", "/nowhere"},
                                        {"OMP_NUM_THREADS", "97"},
                                        {"OMP_PROC_BIND", "true"},
                                        {"OPENBLAS_NUM_THREADS", "97"},
                                        {"GOTO_NUM_THREADS", "97"},
                                        {"MKL_NUM_THREADS", "97"},
                                        {"BLIS_NUM_THREADS", "97"},
                                        {"BASH_ENV", "/nowhere"},
                                        {"LC_ALL", "none"},
                                        {"LC_NUMERIC", "de_DE.UTF-8"}};
  return variables;
}

// Without those by which mpirun itself takes this process for one that mpirun or srun started.
Environment hostile_to_ranks() {
  Environment variables = hostile();
  std::erase_if(variables, [](const auto& variable) {
    const std::string& name = variable.first;
    return name.starts_with("OMPI_") || name.starts_with("PMI") || name.starts_with("SLURM_");
  });
  return variables;
}

class Submit : public ::testing::Test {
 protected:
  Submit() {
    program("sbatch", "echo \"$*\" >> " + path("asked") + "\nenv >> " + path("seen") +
                          "\necho $((100 + $(wc -l < " + path("asked") + ")))\n");
    program("squeue", "env >> " + path("seen") + "\n");
    program("sacct", "exit 1\n");
    Scenario scenario;
    scenario.limit = 4;
    scenario.models = {"gpt2"};
    scenario.knockouts = kKnockoutsOfTransformers;
    config_ = scratch_.write("config.yaml", scenario.yaml());
    profile_ = scratch_.write("profile.yaml",
                              "time: 4h\nmemory: 2G\nfollow_ups: 1\nenvironment: "
                              "{OMPI_ALLOW_RUN_AS_ROOT: 1, OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: 1}\n");
  }
  std::string path(const std::string& name) const { return (scratch_ / name).string(); }
  void program(const std::string& name, const std::string& body) const {
    const std::string file = scratch_.write("bin/" + name, "#!/bin/sh\n" + body);
    std::filesystem::permissions(file, std::filesystem::perms::owner_all);
  }
  Start with_slurm(Environment environment = {}) const {
    environment["PATH"] = path("bin") + ":" + std::getenv("PATH");
    return {.environment = std::move(environment)};
  }
  Ended submit(const std::vector<std::string>& more = {}, Environment environment = {}) const {
    std::vector<std::string> words = {"submit", config_, "--profile",
                                      profile_, "--out", path("run")};
    words.insert(words.end(), more.begin(), more.end());
    return run_program(words, with_slurm(std::move(environment)));
  }
  Ended status() const { return run_program({"status", path("run")}, with_slurm()); }

  TemporaryDirectory scratch_;
  std::string config_, profile_;
};

TEST_F(Submit, TakesTheOptionsOfARun) {
  const Ended ended = submit({"--limit", "3", "--dataset", demo_path("facts.jsonl"), "--models-dir",
                              scratch_.path().string(), "--retry-failed"});
  ASSERT_EQ(ended.code, 0) << ended.all();
  EXPECT_THAT(ended.out, HasSubstr("each job: nodes 1, ranks a node 1, memory a node 2GiB, at most "
                                   "4 h 0 min"));
  const std::string submitted = read_file(path("run/submit.yaml"));
  EXPECT_THAT(submitted, HasSubstr("limit: 3"));
  EXPECT_THAT(submitted, HasSubstr("models_directory: \"" + scratch_.path().string()));
  EXPECT_THAT(read_file(path("run/submit.sbatch")), HasSubstr(" --retry-failed "));
  EXPECT_THAT(read_file(path("run/submit.sbatch")), HasSubstr("#SBATCH --time=0-04:00:00\n"));
  const Ended refused = submit({"--limit", "0", "--dry-run"});
  EXPECT_EQ(refused.code, 2) << refused.all();
}

TEST_F(Submit, ADryRunPrintsCommandsThatAShellTakes) {
  const Ended ended = run_program(
      {"submit", config_, "--profile", profile_, "--out", path("a run; of mine"), "--dry-run"},
      with_slurm());
  ASSERT_EQ(ended.code, 0) << ended.all();
  EXPECT_THAT(ended.out, HasSubstr("would run: sbatch --parsable '" +
                                   path("a run; of mine/submit.sbatch") + "'\n"));
  EXPECT_THAT(ended.out, HasSubstr("--dependency=afternotok:JOB1 "));
  EXPECT_THAT(ended.out, HasSubstr("'--dependency=afterok:JOB1?afterok:JOB2' "));
  EXPECT_FALSE(std::filesystem::exists(path("asked")));
}

// Jobs that wait read submit.yaml when they start.
TEST_F(Submit, WhatIsRefusedLeavesTheFilesOfWaitingJobsAlone) {
  ASSERT_EQ(submit().code, 0);
  const std::string yaml = read_file(path("run/submit.yaml")),
                    script = read_file(path("run/submit.sbatch")),
                    record = read_file(path("run/submit.json"));
  program("squeue", "echo '101|PENDING|Priority, 0:00'\n");
  for (const std::vector<std::string>& more :
       {std::vector<std::string>{"--limit", "2"},
        std::vector<std::string>{"--limit", "2", "--dry-run"}}) {
    const Ended ended = submit(more);
    EXPECT_EQ(ended.code, 2) << ended.all();
    ASSERT_THAT(ended.complaints(), SizeIs(1));
    EXPECT_THAT(ended.complaints()[0], HasSubstr("jobs 101, 102, 103 of an earlier submission are "
                                                 "in the queue"));
  }
  EXPECT_EQ(read_file(path("run/submit.yaml")), yaml);
  EXPECT_EQ(read_file(path("run/submit.sbatch")), script);
  EXPECT_EQ(read_file(path("run/submit.json")), record);
}

TEST_F(Submit, AQueueThatCannotBeAskedIsSaidAndNothingSubmittedOnTopOfIt) {
  ASSERT_EQ(submit().code, 0);
  const std::string asked = read_file(path("asked"));
  program("squeue",
          "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2\nexit 1\n");
  const Ended told = status();
  EXPECT_EQ(told.code, 0) << told.all();
  EXPECT_THAT(told.out, HasSubstr("the queue could not be asked: squeue ended with exit code 1: "
                                  "'slurm_load_jobs error: Unable to contact slurm controller'"));
  EXPECT_THAT(told.out, Not(HasSubstr("none in the queue")));
  const Ended second = submit();
  EXPECT_EQ(second.code, 1) << second.all();
  EXPECT_THAT(second.err, HasSubstr("Unable to contact slurm controller"));
  EXPECT_EQ(read_file(path("asked")), asked);
}

TEST_F(Submit, AJobWhoseNumberIsNotUnderstoodIsFoundByItsName) {
  program("sbatch", "echo taken; echo \"$*\" >> " + path("asked") + "\n");
  const Ended ended = submit();
  EXPECT_EQ(ended.code, 1) << ended.all();
  ASSERT_THAT(ended.complaints(), SizeIs(1));
  EXPECT_THAT(ended.complaints()[0], HasSubstr("sbatch's answer is not understood: 'taken"));
  EXPECT_EQ(std::ranges::count(read_file(path("asked")), '\n'), 1);
  program("squeue",
          "case \"$*\" in *--name=factflow-short-*) echo '101|RUNNING|None, 0:10';; esac\n");
  const Ended told = status();
  EXPECT_EQ(told.code, 0) << told.all();
  EXPECT_THAT(told.out, HasSubstr("one that may have been submitted"));
  EXPECT_THAT(told.out, HasSubstr("101: RUNNING"));
  EXPECT_EQ(submit().code, 2);
}

TEST_F(Submit, ADirectoryThatCannotBeMadeIsSaidInOneLine) {
  const Ended ended = run_program({"submit", config_, "--profile", profile_, "--out",
                                   scratch_.write("file", "").string() + "/run"},
                                  with_slurm());
  EXPECT_GT(ended.code, 0);
  ASSERT_THAT(ended.complaints(), SizeIs(1)) << ended.all();
  EXPECT_THAT(ended.complaints()[0], Not(HasSubstr("internal error")));
}

// What a caller's shell holds changes neither numbers nor jobs.
TEST_F(Submit, NoCommandListensToVariablesThatAreMeantForOthers) {
  const Ended clean = run_program({"run", config_, "--out", path("clean")});
  ASSERT_EQ(clean.code, 0) << clean.all();
  const Ended ended =
      run_program({"run", config_, "--out", path("hostile")}, {.environment = hostile()});
  ASSERT_EQ(ended.code, 0) << ended.all();
  EXPECT_THAT(ended.complaints(), SizeIs(0));
  EXPECT_EQ(results_difference(path("clean/results.h5"), path("hostile/results.h5")), "");
  const Ended ranks = run_program({"run", config_, "--out", path("ranks")},
                                  {.ranks = 2, .environment = hostile_to_ranks()});
  ASSERT_EQ(ranks.code, 0) << ranks.all();
  EXPECT_THAT(ranks.err, HasSubstr("2 ranks"));
  EXPECT_EQ(results_difference(path("clean/results.h5"), path("ranks/results.h5")), "");

  const Ended submitted = submit({}, hostile());
  ASSERT_EQ(submitted.code, 0) << submitted.all();
  const std::string seen = read_file(path("seen"));
  for (const auto& [name, value] : hostile()) {
    if (name == "LC_ALL") continue;
    EXPECT_THAT(seen, Not(HasSubstr("\n" + name + "="))) << name;
  }
  // --export=NONE: the job's environment is what its own script makes.
  const std::string script = read_file(path("run/submit.sbatch"));
  for (const auto& [name, value] : hostile()) {
    if (name == "SLURM_EXPORT_ENV") continue;
    EXPECT_THAT(script, Not(HasSubstr("export " + name)));
  }
  const ChildOutput job =
      run_child({.words = {"bash", path("run/submit.sbatch")}, .environment = {{"HOME", "/"}}});
  ASSERT_EQ(job.code, 0) << job.out << job.err;
  EXPECT_EQ(results_difference(path("clean/results.h5"), path("run/results.h5")), "");
  const Ended analysed = run_program({"analyse", path("run")}, {.environment = hostile()});
  EXPECT_EQ(analysed.code, 0) << analysed.all();
  EXPECT_TRUE(std::filesystem::exists(path("run/report.html")));
}

}  // namespace
}  // namespace factflow::testing
