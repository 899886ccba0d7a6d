// Reads a config.json key by key and then insists that no key is left unread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>

#include <nlohmann/json.hpp>

namespace factflow {

// All getters throw InputError naming file and key for a wrong type or range. A null value counts
// as absent.
class ConfigReader {
 public:
  ConfigReader(const nlohmann::json& config, std::filesystem::path file, std::string prefix = "");

  bool has(const std::string& key) const;
  bool mentions(const std::string& key) const;  // has it, or spells it out as null
  // Sizes are bounded so that neither their products nor the tensor table can get out of hand.
  int integer(const std::string& key, std::optional<int> fallback = {}, int minimum = 1,
              int maximum = 1 << 24);
  int layer_count(const std::string& key);  // at most 4096
  // The integer part of `factor` x `size`, at least 1: an expansion of the hidden size. `factor`
  // may be absent.
  int expanded(const std::string& key, double fallback, int size);
  // Fails for `key` if a width that several keys make together is larger than one alone may be.
  void check_width(const std::string& key, std::int64_t width) const;
  double number(const std::string& key, std::optional<double> fallback = {});
  bool flag(const std::string& key, std::optional<bool> fallback = {});
  std::string word(const std::string& key, std::optional<std::string> fallback = {});
  const nlohmann::json& raw(const std::string& key);  // marks the key as read; null if absent

  // Keys that do not change what the model computes after its last token.
  void ignore(std::initializer_list<const char*> keys);
  // The key may be absent; if present it must have this value, since nothing else is supported.
  void expect(const std::string& key, const nlohmann::json& value);
  // The key may be absent; if present it must be a list that gives each of the layers one of these
  // types.
  void expect_layers(const std::string& key, int layers, std::initializer_list<const char*> types);
  // Throws for the first key that was neither read nor ignored.
  void finish() const;

  const std::filesystem::path& file() const { return file_; }
  [[noreturn]] void fail(const std::string& key, const std::string& problem) const;

 private:
  const nlohmann::json& required(const std::string& key);

  const nlohmann::json& config_;
  std::filesystem::path file_;
  std::string prefix_;
  std::set<std::string> seen_;
};

}  // namespace factflow
