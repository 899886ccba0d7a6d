#include "model/config_reader.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.hpp"

namespace factflow {
namespace {

const nlohmann::json kAbsent;

}  // namespace

ConfigReader::ConfigReader(const nlohmann::json& config, std::filesystem::path file,
                           std::string prefix)
    : config_(config), file_(std::move(file)), prefix_(std::move(prefix)) {
  if (!config_.is_object())
    throw InputError(file_.string(), prefix_.empty()
                                         ? "expected an object"
                                         : fmt::format("key {}: expected an object",
                                                       prefix_.substr(0, prefix_.size() - 1)));
}

void ConfigReader::fail(const std::string& key, const std::string& problem,
                        const std::string& remedy) const {
  throw InputError(file_.string(), fmt::format("key {}{}: {}", prefix_, key, problem), remedy);
}

bool ConfigReader::has(const std::string& key) const {
  return config_.contains(key);
}

bool ConfigReader::is_null(const std::string& key) {
  return says(key, nullptr);
}

bool ConfigReader::says(const std::string& key, const nlohmann::json& value) {
  if (!has(key) || config_.at(key) != value) return false;
  seen_.insert(key);
  return true;
}

std::string ConfigReader::spelling(const std::string& key, const std::string& other) {
  if (!has(other)) return key;
  if (has(key) && raw(key) != config_.at(other))
    fail(key, fmt::format("is {}, but {}{}, another name of it, is {}", raw(key).dump(), prefix_,
                          other, config_.at(other).dump()));
  return other;
}

const nlohmann::json& ConfigReader::raw(const std::string& key) {
  seen_.insert(key);
  return has(key) ? config_.at(key) : kAbsent;
}

void ConfigReader::refuse_null(const std::string& key) const {
  if (has(key) && config_.at(key).is_null())
    fail(key, "is null, which is not its default; leave the key out or give it a value");
}

const nlohmann::json& ConfigReader::required(const std::string& key) {
  if (!has(key)) fail(key, "is missing");
  refuse_null(key);
  return raw(key);
}

int ConfigReader::integer(const std::string& key, std::optional<int> fallback, int minimum,
                          int maximum) {
  const bool absent = fallback && !has(key);
  const nlohmann::json value = absent ? nlohmann::json(*fallback) : required(key);
  if (!value.is_number_integer())
    fail(key, fmt::format("expected an integer, found {}", value.dump()));
  const auto wide = value.get<std::int64_t>();
  if (wide < minimum || wide > maximum)
    fail(key, fmt::format("expected {} to {}, found {}{}", minimum, maximum, value.dump(),
                          absent ? ", the family's default" : ""));
  return static_cast<int>(wide);
}

int ConfigReader::size(const std::string& key, int fallback, int maximum) {
  if (!has(key)) assumed_.push_back(fmt::format("{}{} ({})", prefix_, key, fallback));
  return integer(key, fallback, 1, maximum);
}

int ConfigReader::layer_count(const std::string& key, int fallback) {
  return size(key, fallback, kMostLayers);
}

int ConfigReader::expanded(const std::string& key, double fallback, int size) {
  const double product = number(key, fallback) * size;
  if (!(product >= 1 && product <= kLargestWidth))
    fail(key, fmt::format("expected 1 to {} channels, found {} x {}", kLargestWidth,
                          number(key, fallback), size));
  return static_cast<int>(product);
}

void ConfigReader::check_width(const std::string& key, std::int64_t width) const {
  if (width > kLargestWidth)
    fail(key, fmt::format("makes {} channels, expected at most {}", width, kLargestWidth));
}

double ConfigReader::number(const std::string& key, std::optional<double> fallback) {
  if (fallback && !has(key)) return *fallback;
  const nlohmann::json& value = required(key);
  if (!value.is_number() || std::isnan(value.get<double>()))
    fail(key, fmt::format("expected a number, found {}", value.dump()));
  return value.get<double>();
}

bool ConfigReader::flag(const std::string& key, std::optional<bool> fallback) {
  if (fallback && !has(key)) return *fallback;
  const nlohmann::json& value = required(key);
  if (!value.is_boolean()) fail(key, fmt::format("expected true or false, found {}", value.dump()));
  return value.get<bool>();
}

std::string ConfigReader::word(const std::string& key, std::optional<std::string> fallback) {
  if (fallback && !has(key)) return *fallback;
  const nlohmann::json& value = required(key);
  if (!value.is_string()) fail(key, fmt::format("expected a text, found {}", value.dump()));
  return value.get<std::string>();
}

void ConfigReader::ignore(std::initializer_list<const char*> keys) {
  seen_.insert(keys.begin(), keys.end());
}

void ConfigReader::ignore_unless_null(std::initializer_list<const char*> keys) {
  for (const char* key : keys) refuse_null(key);
  ignore(keys);
}

void ConfigReader::expect(const std::string& key, const nlohmann::json& value) {
  if (has(key) && raw(key) != value)
    fail(key, fmt::format("only {} is supported, found {}", value.dump(), raw(key).dump()));
}

void ConfigReader::expect_or_null(const std::string& key, const nlohmann::json& value) {
  if (!is_null(key)) expect(key, value);
}

void ConfigReader::expect_layers(const std::string& key, int layers,
                                 std::initializer_list<const char*> types) {
  const nlohmann::json& list = raw(key);
  if (list.is_null()) return;
  if (!list.is_array() || list.size() != static_cast<size_t>(layers))
    fail(key, fmt::format("expected a list of {} layers", layers));
  for (const nlohmann::json& type : list)
    if (std::none_of(types.begin(), types.end(), [&](const char* known) { return type == known; }))
      fail(key, fmt::format("expected {}, found {}", fmt::join(types, " or "), type.dump()));
}

void ConfigReader::refuse_unknown(const std::string& key) const {
  fail(key, fmt::format("is not known to this family and might change what it computes (value {})",
                        config_.at(key).dump()));
}

void ConfigReader::finish() const {
  for (const auto& [key, value] : config_.items())
    if (seen_.count(key) == 0) refuse_unknown(key);
}

void ConfigReader::finish(const std::map<std::string, nlohmann::json>& off) const {
  for (const auto& [key, value] : config_.items()) {
    if (seen_.count(key) != 0 || value.is_null()) continue;
    const auto known = off.find(key);
    if (known == off.end()) refuse_unknown(key);
    if (value != known->second)
      fail(key, fmt::format("only {} is supported, found {}", known->second.dump(), value.dump()));
  }
}

}  // namespace factflow
