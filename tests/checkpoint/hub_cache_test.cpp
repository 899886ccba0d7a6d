#include "model/checkpoint/hub_cache.hpp"

#include <list>
#include <map>
#include <optional>
#include <string>

#include <pwd.h>
#include <unistd.h>

#include "tests/checkpoint/support.hpp"

namespace factflow {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::string kFirst = "0123456789abcdef0123456789abcdef01234567";
const std::string kSecond = "0123456fffffffffffffffffffffffffffffffff";

// Sets an environment variable, or unsets it, for the life of the object.
class Variable {
 public:
  Variable(const char* name, const std::optional<std::string>& value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    set(value);
  }
  ~Variable() { set(old_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  void set(const std::optional<std::string>& value) const {
    if (value) {
      ::setenv(name_, value->c_str(), 1);
    } else {
      ::unsetenv(name_);
    }
  }
  const char* name_;
  std::optional<std::string> old_;
};

// A cache with one model of two snapshots, as huggingface_hub lays it out.
class HubCache : public testing::Test {
 protected:
  HubCache() {
    const std::string model = "models--org--tiny/";
    cache_.write(model + "refs/main", kFirst);
    cache_.write(model + "refs/refs/pr/1", kSecond + "\n");
    cache_.write(model + "refs/gone", std::string(40, 'e'));
    cache_.write(model + "refs/broken", "../../elsewhere");
    cache_.write(model + "snapshots/" + kFirst + "/config.json", "{}");
    cache_.write(model + "snapshots/" + kSecond + "/config.json", "{}");
  }
  std::filesystem::path snapshot(const std::string& hash) {
    return cache_.path() / "models--org--tiny" / "snapshots" / hash;
  }
  std::string error_of(const std::string& model) {
    return input_error([&] { find_in_hub_cache(model); });
  }

  TemporaryDirectory cache_;
  Variable variable_{"HF_HUB_CACHE", cache_.path().string()};
};

TEST_F(HubCache, FindsBranchesAndHashes) {
  EXPECT_EQ(find_in_hub_cache("org/tiny"), snapshot(kFirst));
  EXPECT_EQ(find_in_hub_cache("org/tiny@main"), snapshot(kFirst));
  EXPECT_EQ(find_in_hub_cache("org/tiny@refs/pr/1"), snapshot(kSecond));
  EXPECT_EQ(find_in_hub_cache("org/tiny@" + kSecond), snapshot(kSecond));
  EXPECT_EQ(find_in_hub_cache("org/tiny@01234567"), snapshot(kFirst));
  EXPECT_EQ(Checkpoint::resolve("hf:org/tiny"), snapshot(kFirst));
}

TEST_F(HubCache, SaysWhatWasTried) {
  EXPECT_THAT(error_of("org/other"),
              AllOf(HasSubstr("hf:org/other: is not in the Hugging Face cache"),
                    HasSubstr((cache_.path() / "models--org--other").string()),
                    HasSubstr("hf download org/other")));
  EXPECT_THAT(error_of("org/tiny@v2"), AllOf(HasSubstr("has no revision v2"), HasSubstr("refs/v2"),
                                             HasSubstr("hf download org/tiny --revision v2")));
  EXPECT_THAT(error_of("org/tiny@gone"), HasSubstr("snapshots/eeee"));
  EXPECT_THAT(error_of("org/tiny@broken"), HasSubstr("expected a commit hash of 40 digits"));
  EXPECT_THAT(error_of("org/tiny@0123456"),
              AllOf(HasSubstr("fits several snapshots"), HasSubstr(kFirst), HasSubstr(kSecond)));
  // Too short for a prefix.
  EXPECT_THAT(error_of("org/tiny@012"), HasSubstr("has no revision 012"));
}

TEST_F(HubCache, RefusesNamesThatLeaveTheCache) {
  for (const char* name : {"", "/", "org/", "/tiny", "../org/tiny", "org/..", "a/b/c", "org/t ny",
                           "org/tiny@", "org/tiny@../x", "org/tiny@a//b", "org/tiny@/etc"})
    EXPECT_THAT(error_of(name),
                testing::AnyOf(HasSubstr("expected hf:ORG/NAME"), HasSubstr("no valid revision")))
        << name;
}

constexpr const char* kVariables[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME",
                                      "XDG_CACHE_HOME"};

struct Environment {
  std::map<std::string, std::string> variables;
  const char* root;
};

// What huggingface_hub 2.4 makes of each, with HOME=/home/someone/, DATA=/data, NESTED=$DATA,
// TILDE=~: HF_HUB_CACHE of its constants.py.
const Environment kEnvironments[] = {
    {{}, "/home/someone/.cache/huggingface/hub"},
    {{{"XDG_CACHE_HOME", "/x"}}, "/x/huggingface/hub"},
    {{{"XDG_CACHE_HOME", "~/c"}}, "/home/someone/c/huggingface/hub"},
    {{{"XDG_CACHE_HOME", "$DATA/c"}}, "/data/c/huggingface/hub"},
    {{{"XDG_CACHE_HOME", ""}}, "huggingface/hub"},
    {{{"HF_HOME", "~/hf"}}, "/home/someone/hf/hub"},
    {{{"HF_HOME", "~"}}, "/home/someone/hub"},
    {{{"HF_HOME", "$HOME/hf"}}, "/home/someone//hf/hub"},
    {{{"HF_HOME", "${DATA}/hf"}}, "/data/hf/hub"},
    {{{"HF_HOME", "/a/~/$NOT_SET/${NOT_SET}"}}, "/a/~/$NOT_SET/${NOT_SET}/hub"},
    {{{"HF_HOME", "~no_such_user/hf"}}, "~no_such_user/hf/hub"},
    {{{"HF_HOME", "~root/hf"}}, "/root/hf/hub"},
    {{{"HF_HOME", "$NESTED/hf"}}, "/data/hf/hub"},
    {{{"HF_HOME", "hf"}}, "hf/hub"},
    {{{"HF_HOME", ""}}, "hub"},
    {{{"HF_HOME", "/data/hf/"}}, "/data/hf/hub"},
    {{{"HF_HOME", "/data/hf"}, {"XDG_CACHE_HOME", "/x"}}, "/data/hf/hub"},
    {{{"HUGGINGFACE_HUB_CACHE", "~/old"}}, "/home/someone/old"},
    {{{"HUGGINGFACE_HUB_CACHE", "/old"}, {"HF_HOME", "/data/hf"}}, "/old"},
    {{{"HUGGINGFACE_HUB_CACHE", "$DATA/old"}, {"HF_HUB_CACHE", "/new"}}, "/new"},
    {{{"HF_HUB_CACHE", "~/hub"}}, "/home/someone/hub"},
    {{{"HF_HUB_CACHE", "$HOME/hub"}}, "/home/someone//hub"},
    {{{"HF_HUB_CACHE", "${HOME}/hub"}}, "/home/someone//hub"},
    {{{"HF_HUB_CACHE", "$DATA_hub/x"}}, "$DATA_hub/x"},
    {{{"HF_HUB_CACHE", "$DATA-hub/${DATA"}}, "/data-hub/${DATA"},
    {{{"HF_HUB_CACHE", "$/$$DATA/${}"}}, "$/$/data/${}"},
    {{{"HF_HUB_CACHE", "$TILDE/hub"}}, "~/hub"},
    {{{"HF_HUB_CACHE", ""}}, ""},
};

class HubCacheRoot : public testing::TestWithParam<Environment> {};

TEST_P(HubCacheRoot, IsThatOfHuggingfaceHub) {
  std::map<std::string, std::optional<std::string>> all = {
      {"HOME", "/home/someone/"}, {"DATA", "/data"},         {"NESTED", "$DATA"}, {"TILDE", "~"},
      {"NOT_SET", std::nullopt},  {"DATA_hub", std::nullopt}};
  for (const char* name : kVariables) all[name] = std::nullopt;
  for (const auto& [name, value] : GetParam().variables) all[name] = value;
  std::list<Variable> set;
  for (const auto& [name, value] : all) set.emplace_back(name.c_str(), value);
  EXPECT_EQ(hub_cache_root(), GetParam().root);
}

INSTANTIATE_TEST_SUITE_P(Variables, HubCacheRoot, testing::ValuesIn(kEnvironments));

TEST(HubCacheRootAlone, WithoutHomeIsInThatOfThePasswordFile) {
  std::list<Variable> unset;
  for (const char* name : kVariables) unset.emplace_back(name, std::nullopt);
  const Variable home("HOME", std::nullopt);
  const passwd* entry = ::getpwuid(::getuid());
  ASSERT_NE(entry, nullptr);
  EXPECT_EQ(hub_cache_root(), std::filesystem::path(entry->pw_dir) / ".cache/huggingface/hub");
}

}  // namespace
}  // namespace factflow
