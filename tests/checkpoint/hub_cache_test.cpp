#include "model/checkpoint/hub_cache.hpp"

#include <optional>

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

TEST(HubCacheRoot, FollowsTheVariables) {
  const Variable cache("HF_HUB_CACHE", std::nullopt), hub("HF_HOME", std::nullopt);
  const Variable xdg("XDG_CACHE_HOME", std::nullopt), home("HOME", "/home/someone");
  EXPECT_EQ(hub_cache_root(), "/home/someone/.cache/huggingface/hub");
  const Variable xdg_set("XDG_CACHE_HOME", "/x");
  EXPECT_EQ(hub_cache_root(), "/x/huggingface/hub");
  const Variable hub_set("HF_HOME", "/data/hf");
  EXPECT_EQ(hub_cache_root(), "/data/hf/hub");
  const Variable cache_set("HF_HUB_CACHE", "/scratch/hub");
  EXPECT_EQ(hub_cache_root(), "/scratch/hub");
}

TEST(HubCacheRoot, NeedsOneOfTheVariables) {
  const Variable cache("HF_HUB_CACHE", std::nullopt), hub("HF_HOME", "");
  const Variable xdg("XDG_CACHE_HOME", std::nullopt), home("HOME", std::nullopt);
  EXPECT_THAT(input_error([] { hub_cache_root(); }), HasSubstr("set HF_HUB_CACHE"));
}

}  // namespace
}  // namespace factflow
