// factflow check: what a checkpoint, a tokenizer or a dataset is, as factflow understands it.
#include <algorithm>
#include <cmath>
#include <functional>
#include <iostream>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

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
#include "pipeline/run/asked_model.hpp"

namespace factflow {
namespace {

constexpr size_t kShown = 5;
constexpr std::int64_t kAskedPrompts = 50;  // of a dataset, unless --limit says otherwise

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
std::vector<std::pair<std::string, std::string>> parts_of(const Architecture& architecture) {
  const auto sites = [](const LayerShape& one) {
    std::vector<std::string> names;
    for (const Site site : sites_of(one)) names.push_back(to_string(site));
    return join(names);
  };
  const auto edits = [](const LayerShape& one) {
    std::vector<std::string> names;
    for (const LayerMatrixShape& of : matrices_of(one)) names.push_back(to_string(of.matrix.name));
    return names.empty() ? "no matrix" : join(names);
  };
  return {{"shape", by_layers(architecture, [](const LayerShape& one) { return in_words(one); })},
          {"blocks", by_layers(architecture, layer_name)},
          {"sites", by_layers(architecture, sites) + ", norm"},
          {"edges", by_layers(architecture, edges_in_words)},
          {"edits", by_layers(architecture, edits)}};
}

// Norms of exp(-exp(A_log)) over all layers, ascending; none of a model without.
std::vector<double> decay_of(const Network& network) {
  std::vector<double> norms;
  for (int layer = 0; layer < network.architecture().layers; ++layer) {
    const std::vector<double> more = network.decay_norms(layer);
    norms.insert(norms.end(), more.begin(), more.end());
  }
  std::sort(norms.begin(), norms.end());
  return norms;
}

void report_decay(const Network& network, nlohmann::json& report) {
  const std::vector<double> norms = decay_of(network);
  report["decay"] = nullptr;
  if (norms.empty()) return;
  const auto at = [&](double share) {
    return norms[static_cast<size_t>(share * static_cast<double>(norms.size() - 1))];
  };
  report["decay"] = {{"smallest", norms.front()},
                     {"lower_third", at(1.0 / 3)},
                     {"median", at(0.5)},
                     {"upper_third", at(2.0 / 3)},
                     {"largest", norms.back()}};
}

nlohmann::json next_tokens(const Network& network, const Tokenizer& tokenizer,
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
  nlohmann::json next = nlohmann::json::array();
  for (const TopToken& top : result.top)
    next.push_back(
        {{"probability", top.probability},
         {"token", top.token},
         {"text", tokenizer.has_token(top.token) ? nlohmann::json(tokenizer.token_text(top.token))
                                                 : nlohmann::json()}});
  request.answer = result.top[0].token;
  return {{"text", prompt},
          {"tokens", encoding.ids.size()},
          {"next", next},
          {"tied_with_first", engine.run({&request, 1})[0].clean.tied}};
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

// A model as it was loaded, and what is to be said of it.
struct CheckedModel {
  std::unique_ptr<Network> network;
  std::optional<Tokenizer> tokenizer;
  nlohmann::json report;
};

CheckedModel check_model(const std::string& source, const po::variables_map& values) {
  set_threads(0, 1);
  // First, as it may tell why the weights are not of a kind that can be read.
  read_architecture(Checkpoint::read_config(source), Checkpoint::resolve(source) / "config.json",
                    choices_of(values));
  auto checkpoint = std::make_shared<const Checkpoint>(Checkpoint::open(source));
  CheckedModel checked;
  checked.network = Network::load(checkpoint, choose_device(values["device"].as<std::string>()),
                                  Precision::kFp32, choices_of(values));
  const Architecture& architecture = checked.network->architecture();
  nlohmann::json& report = checked.report;
  report = {{"path", source},
            {"family", architecture.family},
            {"layers", architecture.layers},
            {"hidden", architecture.hidden},
            {"vocabulary", architecture.vocabulary},
            {"tied_head", architecture.tied_head},
            {"parameters", checked.network->parameters()},
            {"tensors", checkpoint->tensors().size()},
            {"unread", checkpoint->unread()},
            {"tokenizer", nullptr},
            {"prompt", nullptr}};
  for (const auto& [name, words] : parts_of(architecture)) report[name] = words;
  report_decay(*checked.network, report);
  checked.tokenizer = tokenizer_of(values, checkpoint->directory());
  if (!checked.tokenizer) return checked;
  report["tokenizer"] = checked.tokenizer->description();
  require_vocabulary(*checked.tokenizer, architecture.vocabulary, source);
  report["prompt"] =
      next_tokens(*checked.network, *checked.tokenizer, values["prompt"].as<std::string>());
  return checked;
}

void print_prompt(const nlohmann::json& prompt) {
  std::cout << fmt::format("prompt   '{}', {}, continues with\n", prompt["text"].get<std::string>(),
                           counted(prompt["tokens"].get<std::uint64_t>(), "token"));
  for (const nlohmann::json& top : prompt["next"])
    std::cout << fmt::format("  {:>8.4f}  {:>7}  '{}'\n", top["probability"].get<double>(),
                             top["token"].get<int>(),
                             top["text"].is_null() ? "(padding)" : top["text"].get<std::string>());
  if (const int tied = prompt["tied_with_first"].get<int>(); tied > 0)
    std::cout << fmt::format("  {} exactly as likely as the first: none of them counts as right\n",
                             counted(static_cast<std::uint64_t>(tied), "token is", "tokens are"));
}

void print_model(const nlohmann::json& report) {
  const auto number = [&](const char* key) { return report[key].get<std::uint64_t>(); };
  std::cout << fmt::format("model    {}, {}, hidden {}, vocabulary {}{}\n",
                           report["family"].get<std::string>(), counted(number("layers"), "layer"),
                           number("hidden"),
                           format_count(static_cast<double>(number("vocabulary"))),
                           report["tied_head"].get<bool>() ? ", tied head" : ", own head");
  for (const char* part : {"shape", "blocks", "sites", "edges", "edits"})
    std::cout << fmt::format("{:<8} {}\n", part, report[part].get<std::string>());
  std::cout << fmt::format("weights  {} parameters in {}, all finite\n",
                           format_count(static_cast<double>(number("parameters"))),
                           counted(number("tensors"), "tensor"));
  if (!report["unread"].empty())
    std::cout << fmt::format("unread   {}: other weights in the directory\n",
                             join(report["unread"].get<std::vector<std::string>>()));
  if (const nlohmann::json& decay = report["decay"]; !decay.is_null())
    std::cout << fmt::format(
        "decay    norm of exp(-exp(A_log)) over all layers: {:.4g} smallest, {:.4g} lower third, "
        "{:.4g} median, {:.4g} upper third, {:.4g} largest (slow = large)\n",
        decay["smallest"].get<double>(), decay["lower_third"].get<double>(),
        decay["median"].get<double>(), decay["upper_third"].get<double>(),
        decay["largest"].get<double>());
  if (report["tokenizer"].is_null()) {
    std::cout << "tokens   no tokenizer in the directory; name one with --tokenizer\n";
    return;
  }
  std::cout << fmt::format("tokens   {}\n", report["tokenizer"].get<std::string>());
  print_prompt(report["prompt"]);
}

nlohmann::json check_dataset(const Dataset& dataset, const std::string& path,
                             const std::optional<AnswersOfDataset>& answers) {
  nlohmann::json bad = nlohmann::json::array();
  for (const BadRecord& one : dataset.bad)
    bad.push_back({{"where", one.where}, {"reason", one.reason}});
  return {{"path", path},
          {"format", dataset.format},
          {"prompts", dataset.prompts.size()},
          {"bad_records", bad},
          {"answers", answers ? to_json(*answers) : nlohmann::json()}};
}

void print_dataset(const Dataset& dataset, const std::optional<AnswersOfDataset>& answers) {
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
  if (!answers) return;
  for (const std::string& sentence : describe(*answers)) std::cout << "  " << sentence << '\n';
  const std::vector<AnswerSummary::Shared> shared = answers->summary.shared();
  for (size_t i = 0; i < std::min(kShown, shared.size()); ++i) {
    std::vector<std::string> first(
        shared[i].answers.begin(),
        shared[i].answers.begin() +
            static_cast<std::ptrdiff_t>(std::min(kShown, shared[i].answers.size())));
    if (shared[i].answers.size() > first.size()) first.emplace_back("...");
    std::cout << fmt::format("  shared first token {} of {}: {}\n", in_quotes(shared[i].text),
                             counted(shared[i].answers.size(), "answer"), join(first));
  }
  if (shared.size() > kShown)
    std::cout << fmt::format("  and {} shared first tokens more (--json has all)\n",
                             shared.size() - kShown);
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
  options.add_options()("limit", po::value<std::int64_t>()->default_value(kAskedPrompts),
                        "of --dataset, ask the model the first N prompts: which it gets right, and "
                        "their tokens; 0 = none");
  add_checkpoint_choices(options);
  add_json(options);
  usage.examples = {"check --model demo/models/mamba",
                    "check --model demo/models/gpt2 --dataset demo/facts.jsonl --limit 20",
                    "check --dataset demo/facts.jsonl --json"};
  return usage;
}

int check_command(const po::variables_map& values) {
  const bool has_model = values.count("model") != 0, has_dataset = values.count("dataset") != 0;
  if (!has_model && !has_dataset && values.count("tokenizer") == 0)
    throw InputError("factflow check", "name what to check",
                     "--model DIR, --tokenizer PATH or --dataset FILE");
  if (!values["answer"].defaulted() && !has_dataset)
    throw InputError("factflow check", "--answer is given without --dataset",
                     "only the prompts of a dataset have answers");
  const std::int64_t limit = values["limit"].as<std::int64_t>();
  if (limit < 0) throw InputError("factflow check", "--limit expects a number of prompts, or 0");
  if (!values["limit"].defaulted() && !(has_model && has_dataset))
    throw InputError("factflow check", "--limit is given without --model and --dataset",
                     "it is the number of prompts that the model is asked");
  const AnswerRule rule = parse_answer_rule(values["answer"].as<std::string>());
  const bool json = wants_json(values);
  nlohmann::json report = {
      {"model", nullptr}, {"tokenizer", nullptr}, {"dataset", nullptr}, {"accuracy", nullptr}};
  CheckedModel model;
  if (has_model) {
    model = check_model(values["model"].as<std::string>(), values);
    report["model"] = model.report;
    report["tokenizer"] = model.report["tokenizer"];
    if (!json) print_model(model.report);
  } else {
    model.tokenizer = tokenizer_of(values, {});
    if (model.tokenizer) report["tokenizer"] = model.tokenizer->description();
    if (!json && values.count("tokenizer") != 0)
      std::cout << fmt::format("tokens   {}\n", model.tokenizer->description());
  }
  if (has_dataset) {
    DatasetConfig config;
    config.path = values["dataset"].as<std::string>();
    const Dataset dataset = read_dataset(config);
    std::optional<AnswersOfDataset> answers;
    if (model.tokenizer) answers = look_at_answers(*model.tokenizer, dataset.prompts, rule);
    report["dataset"] = check_dataset(dataset, config.path, answers);
    if (!json) print_dataset(dataset, answers);
    if (model.network && model.tokenizer && limit > 0) {
      const AskedModel asked =
          ask_model(*model.network, *model.tokenizer, dataset.prompts, limit, rule);
      report["accuracy"] = to_json(asked);
      if (!json) std::cout << in_words(asked);
    }
  }
  if (json) print_json(report);
  return 0;
}

}  // namespace factflow
