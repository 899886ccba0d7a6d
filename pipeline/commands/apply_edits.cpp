// factflow apply-edits: edits of a run, written into a copy of the checkpoint that they were
// computed for.
#include <algorithm>
#include <iostream>
#include <memory>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/paths.hpp"
#include "base/text.hpp"
#include "experiments/edit/edit_arrays.hpp"
#include "fields/plain_text.hpp"
#include "model/edit/edited_checkpoint.hpp"
#include "pipeline/commands/command.hpp"
#include "pipeline/commands/run_folder.hpp"
#include "pipeline/input/config.hpp"
#include "results/results_file.hpp"

namespace factflow {
namespace {

constexpr const char* kOwn = "factflow apply-edits";

const ModelConfig& model_named(const Config& config, const std::string& name) {
  std::vector<std::string> known;
  for (const ModelConfig& model : config.models) {
    if (model.name == name || (name.empty() && config.models.size() == 1)) return model;
    known.push_back(model.name);
  }
  if (name.empty())
    throw InputError(kOwn, "the run has several models: " + join(known), "name one with --model");
  throw InputError(kOwn, unknown_word("model", excerpt(name), known));
}

// The checkpoint that the run edited, byte for byte.
std::shared_ptr<const Checkpoint> edited_one(const ModelConfig& model, const std::string& digest) {
  auto checkpoint = std::make_shared<const Checkpoint>(Checkpoint::open(model.path));
  if (checkpoint->digest() != digest)
    throw InputError(checkpoint->directory().string(),
                     "is not the checkpoint that the run edited: its content has changed since",
                     "edits fit the weights that they were computed from alone");
  return checkpoint;
}

// Place on the axis of edits.
std::int64_t edit_named(const ResultsReader& reader, const std::string& model,
                        const std::string& name) {
  if (!has_edits(reader, model))
    throw InputError(kOwn, fmt::format("model {} has no edits in this run", model));
  const std::vector<std::int64_t> saved = edits_with_factors(reader, model);
  if (saved.empty())
    throw InputError(kOwn, fmt::format("the run did not save its edits of model {}", model),
                     "run it with edit: {save: true}");
  const EditResults results = read_edits(reader, model);
  std::vector<std::string> known;
  for (const std::int64_t place : saved) {
    known.push_back(results.edits.at(static_cast<std::size_t>(place)));
    if (known.back() == name || (name.empty() && saved.size() == 1)) return place;
  }
  if (name.empty())
    throw InputError(kOwn, "the run has several edits of a fact: " + join(known),
                     "name one with --edit");
  throw InputError(kOwn, unknown_word("edit", excerpt(name), known));
}

std::size_t row_of(const EditFactors& factors, std::int64_t fact, const std::string& model) {
  const auto found = std::find(factors.prompts.begin(), factors.prompts.end(), fact);
  if (found == factors.prompts.end())
    throw InputError(kOwn, fmt::format("fact {} was not edited in model {}", fact, model));
  return static_cast<std::size_t>(found - factors.prompts.begin());
}

// With each fact those that were written together with it: they are one edit. Ascending.
std::vector<std::int64_t> whole_edits(const EditFactors& factors, const EditResults& results,
                                      const std::vector<std::int64_t>& facts,
                                      const std::string& model) {
  std::set<std::int64_t> all;
  for (const std::int64_t fact : facts) {
    const std::size_t row = row_of(factors, fact, model);
    all.insert(fact);
    const std::int64_t group = results.groups.at(row);
    for (std::size_t i = 0; factors.together && i < results.prompts.size(); ++i)
      if (group != kAlone && results.groups[i] == group) all.insert(results.prompts[i]);
  }
  return {all.begin(), all.end()};
}

// Of every layer.
std::vector<SavedEdit> edits_of(const EditFactors& factors, std::int64_t fact,
                                const std::string& model) {
  const std::size_t layers = factors.layers.size(), first = row_of(factors, fact, model) * layers;
  const auto vector_of = [&](const std::vector<float>& rows, std::size_t row, std::int64_t size) {
    const at::Tensor vector =
        at::from_blob(const_cast<float*>(rows.data()) + static_cast<std::int64_t>(row) * size,
                      {size}, at::kFloat)
            .clone();
    if (!at::isfinite(vector).all().item<bool>())
      throw InputError(kOwn, fmt::format("there is no edit {} of fact {} in model {}: it failed",
                                         factors.name, fact, model));
    return vector;
  };
  std::vector<SavedEdit> edits;
  for (std::size_t i = 0; i < layers; ++i)
    edits.push_back({parse_edited_matrix(factors.matrix), factors.layers[i],
                     vector_of(factors.u, first + i, factors.in),
                     vector_of(factors.r, first + i, factors.out)});
  return edits;
}

void print_facts(const EditResults& results, const EditFactors& factors,
                 const std::vector<std::int64_t>& facts) {
  std::set<std::int64_t> edits;
  for (const std::int64_t fact : facts) {
    const auto row = static_cast<std::size_t>(
        std::find(results.prompts.begin(), results.prompts.end(), fact) - results.prompts.begin());
    edits.insert(factors.together ? results.groups.at(row) : fact);
    std::cout << fmt::format("{}  fact {}: {}{} instead of{}\n", factors.name, fact,
                             results.question_texts.at(row * results.question_kinds.size()),
                             results.new_answers.at(row), results.true_answers.at(row));
  }
  if (edits.size() > 1)
    std::cout << fmt::format(
        "each {} was computed as if it were the only one; together they may disturb each other\n",
        factors.together ? "group of facts" : "of them");
}

void print_tensors(const std::vector<EditedTensor>& tensors) {
  for (const EditedTensor& tensor : tensors)
    std::cout << fmt::format("{} ({}): {}, change of norm {:.4g}, of which {:.2g} is lost to {}\n",
                             tensor.name, to_string(tensor.type), counted(tensor.edits, "edit"),
                             tensor.change, tensor.rounding, to_string(tensor.type));
}

}  // namespace

Usage apply_edits_usage() {
  Usage usage;
  po::options_description& options = usage.options;
  options.add_options()("model", po::value<std::string>()->default_value(""),
                        "name of the model in the run, if it has several")(
      "edit", po::value<std::string>()->default_value(""),
      "which edit of the facts, if the run has several: \"W_o 3\"")(
      "facts", po::value<std::vector<std::int64_t>>()->multitoken()->required(),
      "ids of the facts whose edits are written; of memit with all that were written together "
      "with one of them")("out", po::value<std::string>()->required(),
                          "directory of the new checkpoint");
  usage.epilogue =
      "The run's section edit needs save: true. The checkpoint that was edited is only read.\n";
  usage.positional = {"DIR"};
  usage.examples = {"apply-edits runs/demo-edit --model gpt2 --facts 12 --out edited/gpt2"};
  return usage;
}

int apply_edits_command(const po::variables_map& values) {
  const std::filesystem::path directory = values["DIR"].as<std::string>();
  require_results(directory);
  const Config config = read_config(directory / "config.yaml");
  const ModelConfig& model = model_named(config, values["model"].as<std::string>());
  const ResultsReader reader(directory / kResultsFileName);
  const std::int64_t place = edit_named(reader, model.name, values["edit"].as<std::string>());
  const EditFactors factors = read_edit_factors(reader, model.name, place);
  std::vector<std::int64_t> facts = values["facts"].as<std::vector<std::int64_t>>();
  const EditResults results = read_edits(reader, model.name);
  facts = whole_edits(factors, results, facts, model.name);
  std::vector<SavedEdit> edits;
  for (const std::int64_t fact : facts)
    for (SavedEdit& edit : edits_of(factors, fact, model.name)) edits.push_back(std::move(edit));

  const auto checkpoint = edited_one(model, reader.model(model.name).checkpoint_digest);
  const auto network = Network::load(checkpoint, at::Device(at::kCPU), Precision::kFp32,
                                     {model.head, model.gated_norm});
  const std::string& out = values["out"].as<std::string>();
  const std::vector<EditedTensor> tensors =
      write_edited_checkpoint(*checkpoint, *network, edits, path_from_here(out));
  print_facts(results, factors, facts);
  print_tensors(tensors);
  std::cout << fmt::format("written: {}\n", out);
  return 0;
}

}  // namespace factflow
