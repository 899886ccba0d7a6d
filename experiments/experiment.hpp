// What an experiment kind is. A kind is one folder here and one line in table.cpp; plan,
// coordinator, journal, workers, status and results file know none. docs/extending.md shows how one
// is made.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "experiments/asked.hpp"
#include "experiments/entry.hpp"
#include "experiments/loaded_model.hpp"
#include "experiments/windows.hpp"
#include "model/architecture.hpp"
#include "model/replay/replay.hpp"
#include "results/labelled_arrays.hpp"

namespace factflow {

// ---- results

// Whose results become arrays: what is asked of one model by one kind. Prompts are indices into
// `prompts`.
struct Subjects {
  const std::vector<Prompt>& prompts;  // of the dataset
  std::vector<std::uint32_t> asked;    // the prompts that the kind is asked about, ascending
  // The sets of prompts that the entries draw on, the first of `select` first.
  struct Set {
    std::string name;
    std::vector<std::uint32_t> members;  // ascending
  };
  std::vector<Set> sets;
  // What each entry of the section asks of this model: nothing if it is for others.
  struct OfEntry {
    std::optional<std::size_t> set;  // index in `sets`; nothing where it names its prompts by id
    Asked asked;
  };
  std::vector<OfEntry> entries;
  // What all entries together ask of which prompts: each of `asked` is in one of them. Without any,
  // everything may have been asked of every prompt.
  struct Part {
    std::vector<std::uint32_t> prompts;
    Asked asked;
  };
  std::vector<Part> parts = {};
};

// Makes arrays out of the values of a model's prompts, which come in any order and may be missing.
class ArrayMaker {
 public:
  virtual ~ArrayMaker() = default;
  // `values`: what record() gave. Throws RunError for other bytes.
  virtual void add(std::uint32_t prompt, const Asked& asked, const std::string& values) = 0;
  // The prompt failed, or its unit did. Failures are listed anyway.
  virtual void add_failed(std::uint32_t /*prompt*/, const Asked& /*asked*/) {}
  // Called once, at the end.
  virtual std::vector<ArrayGroup> groups() = 0;
  // Afterwards: what makes the numbers mean something else than they seem to.
  virtual std::vector<std::string> warnings() const { return {}; }
};

// ---- work

// Replayed rows of one prompt: `times` times the same windows.
struct Replays {
  double times = 1;
  std::vector<Window> windows;
  double columns = 1;  // tokens that a row computes, on average
};

// How many prompts a unit holds: large ones first, small ones at the end of a list.
struct UnitLimits {
  std::uint32_t largest = 1, smallest = 1;
  bool whole = false;  // what is computed of its prompts depends on all of them: it is never split
};
inline constexpr std::uint32_t kMostPromptsPerUnit = 512;
// A unit is large enough to keep matrix products busy, small enough to spread over ranks and to
// lose little.
UnitLimits limits_by_rows(double rows_per_prompt);

// Bytes of one prompt's values: in the results file, and in the journal.
struct PromptBytes {
  double results = 0, journal = 0;
};

// Whether every number in it is.
bool is_finite(const ReplayResult& result);
inline constexpr const char* kNotFinite = "the model's output is not a finite number";

// What came out of a prompt.
struct Finding {
  std::string failure = {};  // why there are no values; empty = there are
  std::string values = {};   // bytes of the kind's own
};

// What a kind does with one model: made of the configuration on rank 0, sent to every rank as
// bytes.
class Work {
 public:
  virtual ~Work() = default;
  // ExperimentKind::work_from() of it gives the same work.
  virtual std::string bytes() const = 0;

  // For people: "sweep, 3 edges, windows 1 5"; and of all of it "8 edges" or nothing.
  virtual std::string describe(const Asked& asked) const = 0;
  virtual std::string summary() const { return ""; }

  // What one prompt of about so many tokens costs, by which units are made: pure functions.
  virtual std::vector<Replays> replays(const Asked& asked, double tokens) const = 0;
  virtual UnitLimits limits(const Asked& asked) const;  // by the rows of replays()
  virtual PromptBytes bytes_of_prompt(const Asked& asked, double tokens) const = 0;
  // Of the host's memory, that a rank keeps as long as the model is loaded.
  virtual double bytes_kept() const { return 0; }

  // Prompts whose values these take up. The model's tokens of those that have some are given to the
  // two functions below.
  virtual std::vector<Prompt> references(std::span<const TokenizedPrompt> /*prompts*/) const {
    return {};
  }
  // What the engine is asked about a prompt, and what is kept of its answer, which is finite
  // throughout.
  virtual ReplayRequest request(const Asked& asked, const TokenizedPrompt& prompt,
                                std::span<const TokenizedPrompt> references) const = 0;
  virtual Finding record(const LoadedModel& model, const Asked& asked,
                         const TokenizedPrompt& prompt, std::span<const TokenizedPrompt> references,
                         const ReplayResult& result) const = 0;
  // What the engine is held against whole forwards by. A kind whose requests hold numbers that
  // only the loaded model can say has its own; it checks as many interventions as request() has, or
  // fewer.
  virtual ReplayRequest request_to_check(LoadedModel& /*model*/, const Asked& asked,
                                         const TokenizedPrompt& prompt,
                                         std::span<const TokenizedPrompt> references) const {
    return request(asked, prompt, references);
  }
  virtual int top_tokens() const { return 0; }  // of the clean runs
  // The findings of prompts of which the same is asked, in order. Made of the two above; a kind
  // that needs several passes, or more of the model, has its own.
  virtual std::vector<Finding> compute(LoadedModel& model, const Asked& asked,
                                       std::span<const TokenizedPrompt> prompts) const;

  // `subjects` outlives the maker.
  virtual std::unique_ptr<ArrayMaker> arrays(const Subjects& subjects) const = 0;
};

struct PlannedWork {
  std::shared_ptr<const Work> work;
  std::vector<Asked> asked;               // [entry]; nothing where it is not for this model
  std::vector<std::string> skipped = {};  // what this model cannot have: "subject->last/slow"
  std::string lacking = {};               // because it has none of these: "state-space channels"
};

// ---- the kind

// A model as it is known before its weights are read.
struct ModelToPlan {
  const std::string& name;
  const Architecture& architecture;
  Placement placement = Placement::kFit;  // of the run's windows
  const std::filesystem::path& file;      // the configuration, for messages
  const std::vector<Prompt>& prompts;     // of the dataset
  Precision precision = Precision::kFp32;
};

// A model of a run, and what its tokenizer makes of prompts.
struct ModelOfRun {
  ModelToPlan model;
  // Nothing for a prompt that will fail; empty: there is no tokenizer (yet).
  std::function<std::optional<TokenizedPrompt>(const Prompt&)> tokens;
};

struct PromptCount {
  std::int64_t computed = 0;
  std::int64_t failed = 0;  // alone, or with their unit
};

class ExperimentKind {
 public:
  virtual ~ExperimentKind() = default;

  // What messages, failures and progress call it: "sweep". One word, unique in the table.
  virtual std::string name() const = 0;
  // 1 to 15, unique in the table: it is part of the names of units, so a kind keeps it for good.
  virtual std::uint32_t number() const = 0;

  // The kind by whose clean ranks prompts are selected. It has no section, is asked about every
  // prompt of every model, and comes before all others. A table has exactly one.
  virtual bool offers_ranks() const { return false; }
  // The rank of the answer that the values of such a kind say; at least 1.
  virtual std::int32_t rank_in(const std::string& /*values*/) const { return 0; }

  // Its key in the configuration, and how that is read, written and explained.
  virtual std::string section() const { return ""; }
  virtual Form<Entries> form() const { return {}; }
  // How an entry places its windows, if it says so: all windows of a run are placed alike.
  virtual std::optional<Placement> placement(const Entry& /*entry*/) const { return std::nullopt; }

  // Throws InputError for an entry that the model cannot have.
  virtual PlannedWork plan(const Entries& entries, const ModelToPlan& model) const = 0;
  // Afterwards, of all models together: throws InputError for what none of them can have, or what
  // would do nothing in any prompt.
  virtual void check(const Entries& /*entries*/, std::span<const ModelOfRun> /*models*/) const {}
  virtual std::shared_ptr<const Work> work_from(const std::string& bytes) const = 0;

  // "120 of 198 selected prompts swept, 78 missing" (in_words), or nothing. `asked`: prompts; 0 =
  // none, or not known.
  virtual std::string progress(const PromptCount& count, std::uint32_t asked) const = 0;
};

// "120 of 198 selected prompts swept, 2 failed, 76 missing"; with 0 asked "120 selected prompts
// swept".
std::string in_words(const PromptCount& count, std::uint32_t asked, const std::string& noun,
                     const std::string& done);

// Throws InputError "FILE: key KEY: ..." for a window that is larger than the model.
void check_sizes(const ModelToPlan& model, const std::string& key, const std::vector<int>& sizes);

// Everything that a run asks by its configuration, by the kinds' sections.
struct Sections {
  std::vector<Entries> of_kind;  // as experiment_kinds(); empty = none of all
  const Entries& operator[](std::size_t kind) const;
  bool any() const;
  bool operator==(const Sections& other) const;  // what is written of them is equal
};

}  // namespace factflow
