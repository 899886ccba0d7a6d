#include "model/site_cases.hpp"

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/files.hpp"

namespace factflow {
namespace {

using nlohmann::json;

// What was written and is not read would change the meaning without a word.
void allow_keys(const json& object, std::initializer_list<std::string_view> keys) {
  if (!object.is_object())
    throw std::invalid_argument("expected an object, found " + object.dump());
  for (const auto& [key, value] : object.items())
    if (std::find(keys.begin(), keys.end(), key) == keys.end())
      throw std::invalid_argument(fmt::format("unknown key '{}'", key));
}

std::vector<int> integers(const json& object, const char* key) {
  return object.at(key).get<std::vector<int>>();
}

Value parse_value(const json& object) {
  const auto kind = object.at("kind").get<std::string>();
  if (kind == "zero") {
    allow_keys(object, {"kind"});
    return Zero{};
  }
  if (kind == "vector") {
    allow_keys(object, {"kind", "vector"});
    return Vector{object.at("vector").get<std::vector<double>>()};
  }
  if (kind == "run") {
    allow_keys(object, {"kind", "ids", "tokens"});
    return OtherRun{integers(object, "ids"), integers(object, "tokens")};
  }
  if (kind == "mean") {
    allow_keys(object, {"kind", "runs"});
    return MeanOfRuns{object.at("runs").get<std::vector<std::vector<int>>>()};
  }
  throw std::invalid_argument(fmt::format("unknown kind of value '{}'", kind));
}

Write parse_write(const json& object, bool add) {
  if (add)
    allow_keys(object, {"do", "site", "layers", "tokens", "channels", "value", "scale"});
  else
    allow_keys(object, {"do", "site", "layers", "tokens", "channels", "value"});
  Write write;
  write.site = parse_site(object.at("site").get<std::string>());
  write.layers = integers(object, "layers");
  write.tokens = integers(object, "tokens");
  if (object.contains("channels")) write.channels = integers(object, "channels");
  write.value = parse_value(object.at("value"));
  write.add = add;
  write.scale = object.value("scale", 1.0);
  return write;
}

Block::Through parse_through(const std::string& word) {
  if (word == "state") return Block::Through::kState;
  if (word == "convolution") return Block::Through::kConvolution;
  if (word == "mixer") return Block::Through::kMixer;
  throw std::invalid_argument(
      fmt::format("through: expected state, convolution or mixer, found '{}'", word));
}

Selection parse_selection(const json& object) {
  const json channels = object.value("channels", json("all"));
  if (object.contains("heads")) {
    if (channels != "all") throw std::invalid_argument("choose heads or channels, not both");
    return Heads{integers(object, "heads")};
  }
  if (channels.is_array()) return Channels{channels.get<std::vector<int>>()};
  return parse_channel_set(channels.get<std::string>());
}

ConvolutionParts parse_parts(const json& list) {
  ConvolutionParts parts{false, false, false};
  for (const auto& name : list.get<std::vector<std::string>>()) {
    if (name != "x" && name != "B" && name != "C")
      throw std::invalid_argument(fmt::format("parts: expected x, B or C, found '{}'", name));
    (name == "x" ? parts.x : name == "B" ? parts.b : parts.c) = true;
  }
  return parts;
}

Block parse_block(const json& object) {
  allow_keys(object,
             {"do", "through", "layers", "targets", "sources", "channels", "heads", "parts"});
  Block block;
  block.through = parse_through(object.value("through", std::string("state")));
  block.layers = integers(object, "layers");
  block.targets = integers(object, "targets");
  block.sources = integers(object, "sources");
  block.selection = parse_selection(object);
  if (object.contains("parts")) block.parts = parse_parts(object["parts"]);
  return block;
}

SiteRead parse_read(const json& object) {
  allow_keys(object, {"site", "layer", "token", "under", "values"});
  SiteRead read;
  read.at = {parse_site(object.at("site").get<std::string>()), object.at("layer").get<int>()};
  read.token = object.at("token").get<int>();
  if (object.contains("under")) read.under = object["under"].get<size_t>();
  read.values = object.at("values").get<std::vector<double>>();
  return read;
}

void check_tokens(const std::vector<int>& ids, int vocabulary) {
  for (const int id : ids)
    if (id < 0 || id >= vocabulary)
      throw std::invalid_argument(
          fmt::format("token {} is outside the vocabulary of {}", id, vocabulary));
}

SiteCase parse_case(const json& object, int vocabulary) {
  allow_keys(object, {"ids", "answer", "clean", "interventions_list", "probs", "reads"});
  SiteCase one;
  one.ids = integers(object, "ids");
  one.answer = object.at("answer").get<int>();
  one.clean = object.at("clean").get<double>();
  one.probabilities = object.at("probs").get<std::vector<double>>();
  for (const json& list : object.at("interventions_list")) {
    one.interventions.emplace_back();
    for (const json& intervention : list)
      one.interventions.back().push_back(parse_intervention(intervention));
  }
  if (object.contains("reads"))
    for (const json& read : object["reads"]) one.reads.push_back(parse_read(read));
  if (one.probabilities.size() != one.interventions.size())
    throw std::invalid_argument("probs and interventions_list differ in length");
  for (const SiteRead& read : one.reads) {
    if (read.under && *read.under >= one.interventions.size())
      throw std::invalid_argument(
          fmt::format("a read under list {} of {}", *read.under, one.interventions.size()));
    if (read.token < 0 || read.token >= static_cast<int>(one.ids.size()))
      throw std::invalid_argument(
          fmt::format("a read at token {} of {}", read.token, one.ids.size()));
  }
  check_tokens(one.ids, vocabulary);
  check_tokens({one.answer}, vocabulary);
  return one;
}

}  // namespace

Intervention parse_intervention(const json& object) {
  const auto what = object.at("do").get<std::string>();
  if (what == "block") return parse_block(object);
  if (what == "set" || what == "add") return parse_write(object, what == "add");
  throw std::invalid_argument(fmt::format("do: expected block, set or add, found '{}'", what));
}

std::vector<SiteCase> read_site_cases(const std::filesystem::path& path, int vocabulary) {
  std::vector<SiteCase> cases;
  const auto fail = [&](const std::string& problem) {
    throw InputError(path.string(), fmt::format("case {}: {}", cases.size(), problem));
  };
  const std::string text = read_file(path);
  try {
    const json file = json::parse(text);
    if (!file.is_array()) throw std::invalid_argument("expected a list of cases");
    for (const json& object : file) cases.push_back(parse_case(object, vocabulary));
  } catch (const json::exception& error) {
    fail(error.what());
  } catch (const std::invalid_argument& error) {
    fail(error.what());
  } catch (const InputError& error) {
    fail(error.what());
  }
  return cases;
}

}  // namespace factflow
