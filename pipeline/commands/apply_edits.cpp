// factflow apply-edits: edits of a run, written into a copy of the checkpoint that they were
// computed for.
#include <algorithm>
#include <iostream>
#include <memory>

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

namespace po = boost::program_options;

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

SavedEdit edit_of(const EditFactors& factors, std::int64_t fact, const std::string& model) {
  const auto found = std::find(factors.prompts.begin(), factors.prompts.end(), fact);
  if (found == factors.prompts.end())
    throw InputError(kOwn, fmt::format("fact {} was not edited in model {}", fact, model));
  const std::int64_t row = found - factors.prompts.begin();
  const auto vector_of = [&](const std::vector<float>& rows, std::int64_t size) {
    const at::Tensor vector =
        at::from_blob(const_cast<float*>(rows.data()) + row * size, {size}, at::kFloat).clone();
    if (!at::isfinite(vector).all().item<bool>())
      throw InputError(kOwn, fmt::format("there is no edit {} of fact {} in model {}: it failed",
                                         factors.name, fact, model));
    return vector;
  };
  return {parse_edited_matrix(factors.matrix), static_cast<int>(factors.layer),
          vector_of(factors.u, factors.in), vector_of(factors.r, factors.out)};
}

void print_facts(const EditResults& results, const std::string& edit,
                 const std::vector<std::int64_t>& facts) {
  for (const std::int64_t fact : facts) {
    const auto row = static_cast<std::size_t>(
        std::find(results.prompts.begin(), results.prompts.end(), fact) - results.prompts.begin());
    std::cout << fmt::format("{}  fact {}: {}{} instead of{}\n", edit, fact,
                             results.question_texts.at(row * results.question_kinds.size()),
                             results.new_answers.at(row), results.true_answers.at(row));
  }
  if (facts.size() > 1)
    std::cout << "each of them was computed as if it were the only one; together they may disturb "
                 "each other\n";
}

void print_tensors(const std::vector<EditedTensor>& tensors) {
  for (const EditedTensor& tensor : tensors)
    std::cout << fmt::format("{} ({}): {}, change of norm {:.4g}, of which {:.2g} is lost to {}\n",
                             tensor.name, to_string(tensor.type), counted(tensor.edits, "edit"),
                             tensor.change, tensor.rounding, to_string(tensor.type));
}

}  // namespace

int apply_edits_command(const std::vector<std::string>& arguments) {
  po::options_description options;
  options.add_options()("model", po::value<std::string>()->default_value(""),
                        "name of the model in the run, if it has several")(
      "edit", po::value<std::string>()->default_value(""),
      "which edit of the facts, if the run has several: \"W_o 3\"")(
      "facts", po::value<std::vector<std::int64_t>>()->multitoken()->required(),
      "ids of the facts whose edits are written")("out", po::value<std::string>()->required(),
                                                  "directory of the new checkpoint");
  po::variables_map values;
  const std::string epilogue =
      "The run's section edit needs save: true. The checkpoint that was edited is only read.\n";
  if (!parse_options(command_named("apply-edits"), options, {"DIR"}, arguments, values, epilogue))
    return 0;
  const std::filesystem::path directory = values["DIR"].as<std::string>();
  require_results(directory);
  const Config config = read_config(directory / "config.yaml");
  const ModelConfig& model = model_named(config, values["model"].as<std::string>());
  const ResultsReader reader(directory / kResultsFileName);
  const std::int64_t place = edit_named(reader, model.name, values["edit"].as<std::string>());
  const EditFactors factors = read_edit_factors(reader, model.name, place);
  std::vector<std::int64_t> facts = values["facts"].as<std::vector<std::int64_t>>();
  std::sort(facts.begin(), facts.end());
  facts.erase(std::unique(facts.begin(), facts.end()), facts.end());
  std::vector<SavedEdit> edits;
  for (const std::int64_t fact : facts) edits.push_back(edit_of(factors, fact, model.name));

  const auto checkpoint = edited_one(model, reader.model(model.name).checkpoint_digest);
  const auto network = Network::load(checkpoint, at::Device(at::kCPU), Precision::kFp32,
                                     {model.head, model.gated_norm});
  const std::string& out = values["out"].as<std::string>();
  const std::vector<EditedTensor> tensors =
      write_edited_checkpoint(*checkpoint, *network, edits, path_from_here(out));
  print_facts(read_edits(reader, model.name), factors.name, facts);
  print_tensors(tensors);
  std::cout << fmt::format("written: {}\n", out);
  return 0;
}

}  // namespace factflow
