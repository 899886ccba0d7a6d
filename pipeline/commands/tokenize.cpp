// factflow tokenize: texts or prompts in, token ids and byte offsets out.
#include <iostream>

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "model/checkpoint/checkpoint.hpp"
#include "model/prompt.hpp"
#include "model/tokenizer/tokenizer.hpp"
#include "pipeline/commands/command.hpp"
#include "pipeline/input/dataset.hpp"

namespace factflow {

namespace {

void tokenize_lines(const Tokenizer& tokenizer, bool special_tokens) {
  std::string line;
  for (size_t number = 1; std::getline(std::cin, line); ++number) {
    try {
      const Encoding encoding = tokenizer.encode(line, special_tokens);
      std::cout << nlohmann::json{{"ids", encoding.ids}, {"offsets", encoding.offsets}}.dump()
                << '\n';
    } catch (const InputError& error) {
      throw InputError("standard input, line " + std::to_string(number), error.problem());
    }
  }
}

void tokenize_prompts(const Tokenizer& tokenizer, const std::string& path, AnswerRule rule) {
  DatasetConfig dataset;
  dataset.path = path;
  for (const Prompt& prompt : read_dataset(dataset).prompts) {
    nlohmann::json line = {{"id", prompt.id}};
    try {
      const TokenizedPrompt tokens = tokenize(tokenizer, prompt, rule);
      line.update({{"ids", tokens.ids},
                   {"offsets", tokens.offsets},
                   {"subject", tokens.subject},
                   {"answer", tokens.answer},
                   {"changes", tokens.changes}});
    } catch (const InputError& error) {
      line["failure"] = error.problem();
    }
    std::cout << line.dump() << '\n';
  }
}

}  // namespace

Usage tokenize_usage() {
  Usage usage;
  po::options_description& options = usage.options;
  options.add_options()("model", po::value<std::string>()->required(),
                        "checkpoint or tokenizer: a directory, a tokenizer.json, or hf:ORG/NAME")(
      "no-special", po::bool_switch(), "leave out special tokens such as BOS")(
      "dataset", po::value<std::string>(),
      "the prompts of this file, in place of lines from standard input")(
      "answer", po::value<std::string>()->default_value("continuation"),
      "which token is an answer's: continuation or first-token, as select.answer of a run");
  usage.epilogue =
      "Reads lines from standard input. Each gives {\"ids\": [...], \"offsets\": [[begin, end], "
      "...]}, offsets in bytes.\n"
      "A prompt of a dataset also gives its id, the positions of its subject's tokens, the "
      "answer's "
      "token, and whether\n"
      "the prompt's own tokens are others when the answer follows; or its id and a failure.\n";
  usage.examples = {"tokenize --model demo/models/gpt2 < lines.txt",
                    "tokenize --model demo/models/gpt2 --dataset demo/facts.jsonl"};
  return usage;
}

int tokenize_command(const po::variables_map& values) {
  const bool has_dataset = values.count("dataset") != 0;
  if (has_dataset && values["no-special"].as<bool>())
    throw InputError("factflow tokenize", "--no-special is given beside --dataset",
                     "prompts have special tokens: leave it out");
  if (!has_dataset && !values["answer"].defaulted())
    throw InputError("factflow tokenize", "--answer is given without --dataset",
                     "lines have no answers: name a dataset");
  const std::string source = values["model"].as<std::string>();
  const Tokenizer tokenizer = Tokenizer::load(Checkpoint::resolve_tokenizer(source));
  if (has_dataset)
    tokenize_prompts(tokenizer, values["dataset"].as<std::string>(),
                     parse_answer_rule(values["answer"].as<std::string>()));
  else
    tokenize_lines(tokenizer, !values["no-special"].as<bool>());
  return 0;
}

}  // namespace factflow
