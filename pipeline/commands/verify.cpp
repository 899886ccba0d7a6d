// factflow verify: the engine against the answers of the float64 oracle (tests/oracle/).
#include <algorithm>
#include <array>
#include <cmath>
#include <iostream>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "model/check_intervention.hpp"
#include "model/checkpoint/checkpoint.hpp"
#include "model/device.hpp"
#include "model/edit/check_cases.hpp"
#include "model/locate_cases.hpp"
#include "model/locate_engine.hpp"
#include "model/oracle_cases.hpp"
#include "model/replay/replay.hpp"
#include "model/threads.hpp"
#include "pipeline/commands/command.hpp"

namespace factflow {
namespace {

namespace fs = std::filesystem;

constexpr std::array kCasesNames = {"cases.json", "site_cases.json", "locate_cases.json"};

// A checkpoint and the oracle's answers about it.
struct Subject {
  std::string model;
  fs::path cases;
};

// Each file of answers in a directory.
std::vector<Subject> subjects_in(const std::string& model, const fs::path& directory) {
  std::vector<Subject> subjects;
  for (const char* name : kCasesNames)
    if (fs::exists(directory / name)) subjects.push_back({model, directory / name});
  return subjects;
}

// The same weights as another library saves them, or as they are published, have the answers of the
// checkpoint without this ending.
fs::path answers_about(const fs::path& checkpoint) {
  std::string name = checkpoint.filename().string();
  for (const std::string_view ending : {"_original", "_hub"})
    if (name.ends_with(ending)) name.resize(name.size() - ending.size());
  return checkpoint.parent_path() / name;
}

// `cases` is a file about `model`, or a checkpoint's directory with answers in it, or a directory
// of such.
std::vector<Subject> subjects_of(const std::optional<std::string>& model, const fs::path& cases) {
  if (model && !fs::is_directory(cases)) return {{*model, cases}};
  if (model) {
    std::vector<Subject> subjects = subjects_in(*model, cases);
    if (subjects.empty())
      throw InputError(cases.string(),
                       fmt::format("holds none of {}", fmt::join(kCasesNames, ", ")));
    return subjects;
  }
  if (!fs::is_directory(cases))
    throw InputError("factflow verify", "the option '--model' is missing",
                     "name a checkpoint, or give --cases a directory that holds checkpoints");
  std::vector<Subject> subjects = subjects_in(cases.string(), cases);
  if (!subjects.empty()) return subjects;
  for (const fs::directory_entry& entry : fs::directory_iterator(cases)) {
    if (!entry.is_directory()) continue;
    const std::string checkpoint = entry.path().string();
    if (!fs::exists(entry.path() / "config.json") && !Checkpoint::has_weights(checkpoint)) continue;
    const std::vector<Subject> here = subjects_in(checkpoint, answers_about(entry.path()));
    if (here.empty())
      throw InputError(checkpoint, fmt::format("holds none of {}", fmt::join(kCasesNames, ", ")));
    subjects.insert(subjects.end(), here.begin(), here.end());
  }
  if (subjects.empty())
    throw InputError(cases.string(),
                     fmt::format("holds neither {} nor checkpoints with one of them",
                                 fmt::join(kCasesNames, " nor ")));
  std::stable_sort(subjects.begin(), subjects.end(),
                   [](const Subject& a, const Subject& b) { return a.model < b.model; });
  return subjects;
}

struct Settings {
  at::Device device;
  Precision precision;
  std::int64_t memory_limit = 0;
  std::optional<double> tolerance;
  CheckpointChoices choices;
};

Settings settings_of(const po::variables_map& values) {
  Settings settings{choose_device(values["device"].as<std::string>()), Precision::kFp64,
                    values["memory-limit"].as<std::int64_t>(), std::nullopt, choices_of(values)};
  std::string precision = values["precision"].as<std::string>();
  if (precision == "auto") precision = settings.device.is_cpu() ? "fp64" : "fp32";
  settings.precision = parse_precision(precision);
  if (values.count("tolerance") != 0) settings.tolerance = values["tolerance"].as<double>();
  return settings;
}

std::vector<ReplayResult> answers_of(ReplayEngine& engine, const std::vector<OracleCase>& cases,
                                     const fs::path& file) {
  std::vector<ReplayRequest> requests;
  for (const OracleCase& one : cases) requests.push_back(one.request);
  try {
    return engine.run(requests);
  } catch (const std::invalid_argument& error) {
    throw InputError(file.string(), error.what());
  }
}

struct Worst {
  double clean = 0, answers = 0, reads = 0;
  size_t rerouted = 0;  // runs in which some token goes to other experts than in the clean one
  size_t answer_count = 0, read_count = 0;
};

Worst worst_of(const std::vector<OracleCase>& cases, const std::vector<ReplayResult>& results) {
  Worst worst;
  for (size_t i = 0; i < cases.size(); ++i) {
    worst.clean = std::max(
        worst.clean, oracle_error(std::exp(results[i].clean.log_probability), cases[i].clean));
    worst.answer_count += cases[i].probabilities.size();
    for (size_t k = 0; k < cases[i].probabilities.size(); ++k) {
      worst.answers = std::max(
          worst.answers, oracle_error(probability_of(results[i], k), cases[i].probabilities[k]));
      worst.rerouted += results[i].knockouts[k][0].rerouted > 0 ? 1 : 0;
    }
    worst.read_count += cases[i].reads.size();
    for (size_t k = 0; k < cases[i].reads.size(); ++k)
      worst.reads =
          std::max(worst.reads, read_error(results[i].reads[k].value(), cases[i].reads[k]));
  }
  return worst;
}

// How many knockouts block another number of edges than the oracle says.
size_t miscounted(const std::vector<OracleCase>& cases, const std::vector<ReplayResult>& results) {
  size_t count = 0;
  for (size_t i = 0; i < cases.size(); ++i)
    for (size_t k = 0; k < cases[i].edges.size(); ++k)
      count += results[i].knockouts[k][0].blocked_edges != cases[i].edges[k] ? 1 : 0;
  return count;
}

// Prints a line for each part of the answers about locating and editing.
bool report(const std::vector<LocateCheck>& checks, const std::string& computed_in) {
  bool right = true;
  for (const LocateCheck& check : checks) {
    std::cout << fmt::format("{}, {}: {} compared, max error {:.3g}, limit {:.3g}\n", check.part(),
                             computed_in, check.compared(), check.error(), check.limit());
    if (!check.right()) std::cout << fmt::format("  BEYOND the limit at {}\n", check.worst());
    right = right && check.right();
  }
  return right;
}

// Traces, paths and knockouts by the engine, as asked for; edits, relations and gradients through
// the reference forward in fp64, which a GPU does not have, so on the CPU, whatever is asked for.
bool verify_locating(const Subject& subject, const Settings& settings) {
  const auto checkpoint = std::make_shared<const Checkpoint>(Checkpoint::open(subject.model));
  const auto exact = Network::load(checkpoint, at::kCPU, Precision::kFp64, settings.choices);
  const std::string& family = exact->architecture().family;
  const LocateCases cases = read_locate_cases(subject.cases, exact->architecture().vocabulary,
                                              exact->architecture().layers);
  const OracleTolerance limit =
      settings.tolerance ? OracleTolerance{*settings.tolerance, "as given", *settings.tolerance}
                         : oracle_tolerance(family, settings.precision, OracleKind::kLocating);
  std::cout << fmt::format("{}, {}\n", family, describe(settings.device));
  bool right = true;
  try {
    const auto asked =
        Network::load(checkpoint, settings.device, settings.precision, settings.choices);
    ReplayEngine engine(*asked, settings.memory_limit);
    right = report(check_traced_cases(engine, cases, limit), to_string(settings.precision));
    right = report(check_locate_cases(*exact, cases),
                   settings.device.is_cpu() ? "fp64" : "fp64 on the CPU") &&
            right;
  } catch (const std::invalid_argument& error) {
    throw InputError(subject.cases.string(), error.what());
  }
  std::cout << fmt::format("limit of what the engine computes: {:.3g} ({})\nverdict: {}\n",
                           limit.value, limit.reason,
                           right ? "within the limits: factflow and oracle agree"
                                 : "BEYOND a limit: factflow and oracle do not agree");
  return right;
}

// Prints how far the engine is from the oracle; true if that is within the tolerance.
bool verify(const Subject& subject, const Settings& settings) {
  if (holds_locate_cases(subject.cases)) return verify_locating(subject, settings);
  const auto checkpoint = std::make_shared<const Checkpoint>(Checkpoint::open(subject.model));
  const auto network =
      Network::load(checkpoint, settings.device, settings.precision, settings.choices);
  const std::string& family = network->architecture().family;
  const std::vector<OracleCase> cases =
      read_oracle_cases(subject.cases, network->architecture().vocabulary);
  check_mixers(cases, network->architecture(), subject.cases);
  const OracleTolerance limit =
      settings.tolerance ? OracleTolerance{*settings.tolerance, "as given", *settings.tolerance}
                         : oracle_tolerance(family, settings.precision, cases.front().kind);
  ReplayEngine engine(*network, settings.memory_limit);
  const std::vector<ReplayResult> results = answers_of(engine, cases, subject.cases);
  const Worst worst = worst_of(cases, results);
  std::cout << fmt::format("{}, {}, {}: clean runs: max relative error {:.3g}\n", family,
                           describe(settings.device), to_string(network->precision()), worst.clean);
  const bool sites = cases.front().kind == OracleKind::kAtSites;
  std::cout << fmt::format("{} in {}: max relative error {:.3g}\n",
                           counted(worst.answer_count, sites ? "intervention" : "knockout"),
                           counted(cases.size(), "case"), worst.answers);
  if (network->architecture().routes())
    std::cout << fmt::format("routing: in {} some token goes to other experts\n",
                             counted(worst.rerouted, sites ? "intervention" : "knockout"));
  bool right = std::max(worst.clean, worst.answers) <= limit.value;
  if (worst.read_count > 0) {
    std::cout << fmt::format("{}: max relative error {:.3g}, limit {:.3g}\n",
                             counted(worst.read_count, "value read", "values read"), worst.reads,
                             limit.reads);
    right = right && worst.reads <= limit.reads;
  }
  if (!cases.front().edges.empty()) {
    const size_t wrong = miscounted(cases, results);
    std::cout << fmt::format("edges blocked: {} of {} counts differ\n", wrong, worst.answer_count);
    right = right && wrong == 0;
  }
  std::cout << fmt::format("limit {:.3g} ({})\nverdict: {}\n", limit.value, limit.reason,
                           right ? "within the limit: engine and oracle agree"
                                 : "BEYOND the limit: engine and oracle do not agree");
  return right;
}

}  // namespace

Usage verify_usage() {
  Usage usage;
  po::options_description& options = usage.options;
  options.add_options()("model", po::value<std::string>(),
                        "checkpoint: a directory or hf:ORG/NAME; not needed where --cases is a "
                        "directory that holds checkpoints")(
      "cases", po::value<std::string>()->required(),
      "the oracle's cases.json, site_cases.json or locate_cases.json, a checkpoint's directory "
      "with such files, or a "
      "directory of such directories")("device", po::value<std::string>()->default_value("auto"),
                                       "auto, cpu, cuda or cuda:N")(
      "precision", po::value<std::string>()->default_value("auto"),
      "fp64, fp32, tf32x3, tf32 or bf16; auto = the referee's own fp64 on a CPU, fp32 on a GPU; "
      "edits, relations and gradients of a locate_cases.json are always computed in fp64 on the "
      "CPU")("threads", po::value<int>()->default_value(0), "threads; 0 = all cores")(
      "memory-limit", po::value<std::int64_t>()->default_value(0),
      "bytes for activations; 0 = automatic")(
      "tolerance", po::value<double>(),
      "largest |p - p_oracle| / (p_oracle + 1e-6) that passes; without it 1e-6 in fp64, and in "
      "fp32 "
      "1e-4 or three times the family's float32 floor (docs/precision.md)");
  add_checkpoint_choices(options);
  usage.examples = {"verify --cases tests/oracle/cases/gpt2"};
  return usage;
}

int verify_command(const po::variables_map& values) {
  set_threads(values["threads"].as<int>(), 1);
  const Settings settings = settings_of(values);
  const auto model = values.count("model") != 0
                         ? std::optional<std::string>(values["model"].as<std::string>())
                         : std::nullopt;
  const std::vector<Subject> subjects = subjects_of(model, values["cases"].as<std::string>());
  if (subjects.size() == 1) return verify(subjects.front(), settings) ? 0 : 1;
  // One that cannot be read does not hide what there is to say of the others.
  size_t beyond = 0, refused = 0;
  for (const Subject& subject : subjects) {
    std::cout << fmt::format("\n{}\n", subject.model) << std::flush;
    try {
      beyond += verify(subject, settings) ? 0 : 1;
    } catch (const InputError& error) {
      std::cerr << error.what() << '\n';
      ++refused;
    }
  }
  std::cout << fmt::format("\nverdict: {} of {} checkpoints are within their limits{}\n",
                           subjects.size() - beyond - refused, subjects.size(),
                           refused > 0 ? fmt::format(", {} were refused", refused) : "");
  return refused > 0 ? 2 : beyond > 0 ? 1 : 0;
}

}  // namespace factflow
