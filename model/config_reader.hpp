// Reads a config.json key by key and then insists that no key is left unread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "model/limits.hpp"

namespace factflow {

// All getters throw InputError naming file and key for a wrong type or range, and for null:
// versions of transformers refuse it or read it in different ways. Where null has one meaning the
// family asks for it.
class ConfigReader {
 public:
  ConfigReader(const nlohmann::json& config, std::filesystem::path file, std::string prefix = "");

  bool has(const std::string& key) const;
  // Is it there as null? Marks it as read then.
  bool is_null(const std::string& key);
  // Is it there with this value? Marks it as read then.
  bool says(const std::string& key, const nlohmann::json& value);
  // The one of two spellings of a key that is there; `key` if none is. Fails naming both if they
  // say different things.
  std::string spelling(const std::string& key, const std::string& other);
  // Sizes are bounded so that neither their products nor the tensor table can get out of hand.
  int integer(const std::string& key, std::optional<int> fallback = {}, int minimum = 1,
              int maximum = kLargestWidth);
  // A size of the model, which shows in its tensors: one that is absent is assumed().
  int size(const std::string& key, int fallback, int maximum = kLargestWidth);
  int layer_count(const std::string& key, int fallback);  // likewise, up to kMostLayers
  // The integer part of `factor` x `size`, at least 1: an expansion of the hidden size. `factor`
  // may be absent.
  int expanded(const std::string& key, double fallback, int size);
  // Fails for `key` if a width that several keys make together is larger than one alone may be.
  void check_width(const std::string& key, std::int64_t width) const;
  double number(const std::string& key, std::optional<double> fallback = {});
  bool flag(const std::string& key, std::optional<bool> fallback = {});
  std::string word(const std::string& key, std::optional<std::string> fallback = {});
  // Marks the key as read; null if it is null or absent.
  const nlohmann::json& raw(const std::string& key);

  // Keys that do not change what the model computes after its last token, whatever they say.
  void ignore(std::initializer_list<const char*> keys);
  // The same, where null is no value.
  void ignore_unless_null(std::initializer_list<const char*> keys);
  // The key may be absent; if present it must have this value, since nothing else is supported.
  void expect(const std::string& key, const nlohmann::json& value);
  // The same, where null says it as well.
  void expect_or_null(const std::string& key, const nlohmann::json& value);
  // The key may be absent or null; if present it must be a list that gives each of the layers one
  // of these types.
  void expect_layers(const std::string& key, int layers, std::initializer_list<const char*> types);
  // Throws for the first key that was neither read nor ignored.
  void finish() const;
  // The same where keys of the wide world may stand that the family's class keeps and does not
  // read: null, and what `off` gives as the value of a feature that is switched off, change
  // nothing.
  void finish(const std::map<std::string, nlohmann::json>& off) const;
  // "hidden_size (4096)" for each size that was left to the class's default.
  const std::vector<std::string>& assumed() const { return assumed_; }

  const std::filesystem::path& file() const { return file_; }
  [[noreturn]] void fail(const std::string& key, const std::string& problem,
                         const std::string& remedy = "") const;

 private:
  const nlohmann::json& required(const std::string& key);
  [[noreturn]] void refuse_unknown(const std::string& key) const;
  void refuse_null(const std::string& key) const;

  const nlohmann::json& config_;
  std::filesystem::path file_;
  std::string prefix_;
  std::set<std::string> seen_;
  std::vector<std::string> assumed_;
};

}  // namespace factflow
