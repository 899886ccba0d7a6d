// factflow check: what a checkpoint, a tokenizer or a dataset is, as factflow understands it.
#include <algorithm>
#include <cmath>
#include <functional>
#include <iostream>
#include <optional>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "experiments/loaded_model.hpp"
#include "model/device.hpp"
#include "model/replay/replay.hpp"
#include "model/threads.hpp"
#include "model/tokenizer/tokenizer.hpp"
#include "pipeline/commands/command.hpp"
#include "pipeline/input/dataset.hpp"
#include "pipeline/run/answers.hpp"

namespace factflow {
namespace {

constexpr size_t kShown = 5;

// "0 to 3, 5" of ascending numbers.
std::string ranges(const std::vector<int>& numbers) {
  std::vector<std::string> parts;
  for (size_t begin = 0, end; begin < numbers.size(); begin = end) {
    for (end = begin + 1; end < numbers.size() && numbers[end] == numbers[end - 1] + 1;) ++end;
    parts.push_back(end - begin == 1 ? std::to_string(numbers[begin])
                                     : fmt::format("{} to {}", numbers[begin], numbers[end - 1]));
  }
  return join(parts);
}

// Layers with the same blocks of the same sizes once, as "layers 0 to 3, 5: ..."; without a word
// about layers if all are alike.
std::string by_layers(const Architecture& architecture,
                      const std::function<std::string(const LayerShape&)>& describe) {
  std::vector<std::pair<std::string, std::vector<int>>> kinds;
  for (size_t i = 0; i < architecture.blocks.size(); ++i) {
    const std::string words = describe(architecture.blocks[i]);
    auto kind = std::find_if(kinds.begin(), kinds.end(),
                             [&](const auto& known) { return known.first == words; });
    if (kind == kinds.end()) kind = kinds.insert(kinds.end(), {words, {}});
    kind->second.push_back(static_cast<int>(i));
  }
  if (kinds.size() == 1) return kinds[0].first;
  std::vector<std::string> all;
  for (const auto& [words, layers] : kinds)
    all.push_back(fmt::format("layers {}: {}", ranges(layers), words));
  return join(all, "; ");
}

// What there is to read, write and block.
void print_blocks(const Architecture& architecture) {
  std::cout << fmt::format("shape    {}\n", by_layers(architecture, [](const LayerShape& one) {
                             return in_words(one);
                           }));
  std::cout << fmt::format("blocks   {}\n", by_layers(architecture, layer_name));
  std::cout << fmt::format("sites    {}, norm\n",
                           by_layers(architecture, [](const LayerShape& one) {
                             std::vector<std::string> names;
                             for (const Site site : sites_of(one)) names.push_back(to_string(site));
                             return join(names);
                           }));
  std::cout << fmt::format("edges    {}\n", by_layers(architecture, edges_in_words));
  std::cout << fmt::format("edits    {}\n", by_layers(architecture, [](const LayerShape& one) {
                             std::vector<std::string> names;
                             for (const LayerMatrixShape& of : matrices_of(one))
                               names.push_back(to_string(of.matrix.name));
                             return names.empty() ? "no matrix" : join(names);
                           }));
}

void print_decay(const Network& network) {
  std::vector<double> norms;
  for (int layer = 0; layer < network.architecture().layers; ++layer) {
    const std::vector<double> more = network.decay_norms(layer);
    norms.insert(norms.end(), more.begin(), more.end());
  }
  if (norms.empty()) return;
  std::sort(norms.begin(), norms.end());
  const auto at = [&](double share) {
    return norms[static_cast<size_t>(share * static_cast<double>(norms.size() - 1))];
  };
  std::cout << fmt::format(
      "decay    norm of exp(-exp(A_log)) over all layers: {:.4g} smallest, {:.4g} lower third, "
      "{:.4g} median, "
      "{:.4g} upper third, {:.4g} largest (slow = large)\n",
      norms.front(), at(1.0 / 3), at(0.5), at(2.0 / 3), norms.back());
}

void print_next_tokens(const Network& network, const Tokenizer& tokenizer,
                       const std::string& prompt) {
  const Encoding encoding = tokenizer.encode(prompt);
  if (encoding.ids.empty()) throw InputError("factflow check", "--prompt has no tokens");
  require_tokens(encoding.ids, network.architecture(), "factflow check: --prompt");
  ReplayEngine engine(network, 0);
  ReplayRequest request{encoding.ids, 0, {}};
  const ReplayResult result = std::move(engine.run({&request, 1}, static_cast<int>(kShown))[0]);
  if (result.clean.rank == kernels::kNoRank)
    throw InputError("factflow check", "the model's output after --prompt is not a finite number",
                     "try another prompt; in a run, such prompts are recorded as failed");
  std::cout << fmt::format("prompt   '{}', {}, continues with\n", prompt,
                           counted(encoding.ids.size(), "token"));
  for (const TopToken& top : result.top)
    std::cout << fmt::format(
        "  {:>8.4f}  {:>7}  '{}'\n", top.probability, top.token,
        tokenizer.has_token(top.token) ? tokenizer.token_text(top.token) : "(padding)");
  request.answer = result.top[0].token;
  if (const int tied = engine.run({&request, 1})[0].clean.tied; tied > 0)
    std::cout << fmt::format("  {} exactly as likely as the first: none of them counts as right\n",
                             counted(static_cast<std::uint64_t>(tied), "token is", "tokens are"));
}

// The tokenizer that the options name, else the one in `directory`; nothing if there is none.
std::optional<Tokenizer> tokenizer_of(const po::variables_map& values,
                                      const std::filesystem::path& directory) {
  if (values.count("tokenizer") != 0)
    return Tokenizer::load(Checkpoint::resolve_tokenizer(values["tokenizer"].as<std::string>()));
  if (!std::filesystem::exists(directory / "tokenizer.json") &&
      !std::filesystem::exists(directory / "vocab.json"))
    return std::nullopt;
  return Tokenizer::load(directory);
}

void check_model(const std::string& source, const po::variables_map& values) {
  set_threads(0, 1);
  // First, as it may tell why the weights are not of a kind that can be read.
  read_architecture(Checkpoint::read_config(source), Checkpoint::resolve(source) / "config.json",
                    choices_of(values));
  auto checkpoint = std::make_shared<const Checkpoint>(Checkpoint::open(source));
  const auto network = Network::load(checkpoint, choose_device(values["device"].as<std::string>()),
                                     Precision::kFp32, choices_of(values));
  const Architecture& architecture = network->architecture();
  std::cout << fmt::format("model    {}, {}, hidden {}, vocabulary {}{}\n", architecture.family,
                           counted(static_cast<std::uint64_t>(architecture.layers), "layer"),
                           architecture.hidden, format_count(architecture.vocabulary),
                           architecture.tied_head ? ", tied head" : ", own head");
  print_blocks(architecture);
  std::cout << fmt::format("weights  {} parameters in {}, all finite\n",
                           format_count(static_cast<double>(network->parameters())),
                           counted(checkpoint->tensors().size(), "tensor"));
  if (!checkpoint->unread().empty())
    std::cout << fmt::format("unread   {}: other weights in the directory\n",
                             join(checkpoint->unread()));
  print_decay(*network);
  const std::optional<Tokenizer> tokenizer = tokenizer_of(values, checkpoint->directory());
  if (!tokenizer) {
    std::cout << "tokens   no tokenizer in the directory; name one with --tokenizer\n";
    return;
  }
  std::cout << fmt::format("tokens   {}\n", tokenizer->description());
  require_vocabulary(*tokenizer, architecture.vocabulary, source);
  print_next_tokens(*network, *tokenizer, values["prompt"].as<std::string>());
}

void check_dataset(const std::string& path, const std::optional<Tokenizer>& tokenizer,
                   AnswerRule rule) {
  DatasetConfig config;
  config.path = path;
  const Dataset dataset = read_dataset(config);
  std::cout << fmt::format("dataset  {}: {}, {}\n", dataset.format,
                           counted(dataset.prompts.size(), "prompt"),
                           counted(dataset.bad.size(), "bad record"));
  for (size_t i = 0; i < std::min(kShown, dataset.prompts.size()); ++i) {
    const Prompt& prompt = dataset.prompts[i];
    std::cout << fmt::format("  {:>8}  '{}'  subject '{}'  answer '{}'\n", prompt.id, prompt.text,
                             prompt.subject, prompt.answer);
  }
  for (size_t i = 0; i < std::min(kShown, dataset.bad.size()); ++i)
    std::cout << fmt::format("  bad: {}: {}\n", dataset.bad[i].where, dataset.bad[i].reason);
  if (!tokenizer) return;
  for (const std::string& sentence : describe_answers(*tokenizer, dataset.prompts, rule))
    std::cout << "  " << sentence << '\n';
}

}  // namespace

Usage check_usage() {
  Usage usage;
  po::options_description& options = usage.options;
  options.add_options()("model", po::value<std::string>(),
                        "checkpoint: a directory or hf:ORG/NAME")(
      "tokenizer", po::value<std::string>(),
      "tokenizer, if the checkpoint has none: a directory, a tokenizer.json, or hf:ORG/NAME; "
      "alone: "
      "describe it")("dataset", po::value<std::string>(), "prompt file to describe")(
      "device", po::value<std::string>()->default_value("auto"), "auto, cpu, cuda or cuda:N")(
      "prompt", po::value<std::string>()->default_value("The capital of France is"),
      "what the model is asked to continue")(
      "answer", po::value<std::string>()->default_value("continuation"),
      "which token is an answer's: continuation or first-token, as select.answer of a run");
  add_checkpoint_choices(options);
  usage.examples = {"check --model demo/models/mamba",
                    "check --model demo/models/gpt2 --dataset demo/facts.jsonl"};
  return usage;
}

int check_command(const po::variables_map& values) {
  if (values.count("model") + values.count("tokenizer") + values.count("dataset") == 0)
    throw InputError("factflow check", "name what to check",
                     "--model DIR, --tokenizer PATH or --dataset FILE");
  if (!values["answer"].defaulted() && values.count("dataset") == 0)
    throw InputError("factflow check", "--answer is given without --dataset",
                     "only the prompts of a dataset have answers");
  const AnswerRule rule = parse_answer_rule(values["answer"].as<std::string>());
  std::filesystem::path directory;
  if (values.count("model") != 0) {
    const std::string source = values["model"].as<std::string>();
    check_model(source, values);
    directory = Checkpoint::resolve(source);
  } else if (values.count("tokenizer") != 0) {
    std::cout << fmt::format("tokens   {}\n", tokenizer_of(values, {})->description());
  }
  if (values.count("dataset") != 0)
    check_dataset(values["dataset"].as<std::string>(), tokenizer_of(values, directory), rule);
  return 0;
}

}  // namespace factflow
