// factflow tokenize: lines of text in, token ids and byte offsets out.
#include <iostream>

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "model/checkpoint/checkpoint.hpp"
#include "model/tokenizer/tokenizer.hpp"
#include "pipeline/commands/command.hpp"

namespace factflow {

namespace po = boost::program_options;

int tokenize_command(const std::vector<std::string>& arguments) {
  po::options_description options;
  options.add_options()("model", po::value<std::string>()->required(),
                        "checkpoint or tokenizer: a directory, a tokenizer.json, or hf:ORG/NAME")(
      "no-special", po::bool_switch(), "leave out special tokens such as BOS");
  po::variables_map values;
  const std::string epilogue =
      "Reads lines from standard input. Each gives {\"ids\": [...], \"offsets\": [[begin, end], "
      "...]}, offsets in bytes.\n";
  if (!parse_options(command_named("tokenize"), options, {}, arguments, values, epilogue)) return 0;
  const std::string source = values["model"].as<std::string>();
  const Tokenizer tokenizer = Tokenizer::load(
      source.starts_with("hf:") ? Checkpoint::resolve(source) : std::filesystem::path(source));
  std::string line;
  for (size_t number = 1; std::getline(std::cin, line); ++number) {
    try {
      const Encoding encoding = tokenizer.encode(line, !values["no-special"].as<bool>());
      std::cout << nlohmann::json{{"ids", encoding.ids}, {"offsets", encoding.offsets}}.dump()
                << '\n';
    } catch (const InputError& error) {
      throw InputError("standard input, line " + std::to_string(number), error.problem());
    }
  }
  return 0;
}

}  // namespace factflow
