#include "model/oracle_interventions.hpp"

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace factflow {
namespace {

using nlohmann::json;

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
  allow_keys(object, {"do", "through", "layers", "targets", "sources", "channels", "heads", "parts",
                      "path", "erase"});
  Block block;
  block.through = parse_through(object.value("through", std::string("state")));
  block.layers = integers(object, "layers");
  block.targets = parse_positions(object.at("targets"));
  block.sources = parse_positions(object.at("sources"));
  block.selection = parse_selection(object);
  if (object.contains("parts")) block.parts = parse_parts(object["parts"]);
  block.path = parse_path(object.value("path", std::string("both")));
  block.erase = object.value("erase", false);
  return block;
}

}  // namespace

void allow_keys(const json& object, std::initializer_list<std::string_view> keys) {
  if (!object.is_object())
    throw std::invalid_argument("expected an object, found " + object.dump());
  for (const auto& [key, value] : object.items())
    if (std::find(keys.begin(), keys.end(), key) == keys.end())
      throw std::invalid_argument(fmt::format("unknown key '{}'", key));
}

std::vector<int> parse_positions(const json& list) {
  auto positions = list.get<std::vector<int>>();
  std::sort(positions.begin(), positions.end());
  positions.erase(std::unique(positions.begin(), positions.end()), positions.end());
  return positions;
}

Intervention parse_intervention(const json& object) {
  const auto what = object.at("do").get<std::string>();
  if (what == "block") return parse_block(object);
  if (what == "set" || what == "add") return parse_write(object, what == "add");
  throw std::invalid_argument(fmt::format("do: expected block, set or add, found '{}'", what));
}

OracleRead parse_read(const json& object) {
  allow_keys(object, {"site", "layer", "token", "under", "values"});
  OracleRead one;
  one.read.at = {parse_site(object.at("site").get<std::string>()), object.at("layer").get<int>()};
  one.read.token = object.at("token").get<int>();
  if (object.contains("under")) one.read.under = ReadAt::Run{object["under"].get<size_t>(), 0};
  one.values = object.at("values").get<std::vector<double>>();
  return one;
}

}  // namespace factflow
