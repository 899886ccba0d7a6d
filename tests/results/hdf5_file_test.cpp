#include "results/hdf5_file.hpp"

#include <cmath>
#include <fstream>
#include <limits>
#include <stdexcept>

#include <gtest/gtest.h>

#include "base/error.hpp"

namespace factflow::hdf5 {
namespace {

class Hdf5File : public testing::Test {
 protected:
  std::filesystem::path path_ =
      std::filesystem::path(testing::TempDir()) / "factflow_hdf5_file_test.h5";
  void TearDown() override { std::filesystem::remove(path_); }
};

TEST_F(Hdf5File, EveryElementTypeComesBackAsItWasWritten) {
  const std::vector<float> floats = {0.1F, -1.5F, std::numeric_limits<float>::denorm_min()};
  const std::vector<double> doubles = {0.1, 1e300, -0.0};
  const std::vector<std::int32_t> small = {-1, 0, 2147483647};
  const std::vector<std::int64_t> large = {-1, 0, 9223372036854775807};
  const std::vector<std::string> texts = {"", "naïve 東京 ↵", std::string(100000, 'x')};
  {
    NewFile file(path_);
    {
      Group group = file.root().create_group("values");
      group.write("floats", {3}, floats, {"1", "d"});
      group.write("doubles", {3}, doubles, {"1", "d"});
      group.write("small", {3}, small, {"1", "d"});
      group.write("large", {1, 3}, large, {"1", "d"});
      group.write("texts", {3}, texts, {"1", "d"});
      group.write_attribute("text", "a\nb");
      group.write_attribute("integer", std::int64_t{-5});
      group.write_attribute("real", 2.5);
    }
    file.close();
  }
  const Group group = open_file(path_).open_group("values");
  EXPECT_EQ(group.read<float>("floats", {3}), floats);
  EXPECT_EQ(group.read<double>("doubles", {3}), doubles);
  EXPECT_EQ(group.read<std::int32_t>("small", {3}), small);
  EXPECT_EQ(group.read<std::int64_t>("large", {1, 3}), large);
  EXPECT_EQ(group.read_axis<std::string>("texts"), texts);
  EXPECT_EQ(group.text_attribute("text"), "a\nb");
  EXPECT_EQ(group.integer_attribute("integer"), -5);
  EXPECT_EQ(group.real_attribute("real"), 2.5);
}

TEST_F(Hdf5File, LargeDatasetsAreCompressedAndReadBackWhole) {
  std::vector<float> values(4 * 300 * 700);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i / 1000);
  {
    NewFile file(path_);
    file.root().write("values", {4, 300, 700}, values, {"1", "d"});
    file.close();
  }
  EXPECT_LT(std::filesystem::file_size(path_), values.size() * sizeof(float) / 10);
  EXPECT_EQ(open_file(path_).read<float>("values", {4, 300, 700}), values);
}

TEST_F(Hdf5File, NamesKeepTheOrderOfWriting) {
  {
    NewFile file(path_);
    for (const char* name : {"zebra", "ant", "mole"}) file.root().create_group(name);
    file.close();
  }
  EXPECT_EQ(open_file(path_).names(), (std::vector<std::string>{"zebra", "ant", "mole"}));
}

TEST_F(Hdf5File, WrongShapeTypeAndNameAreInputErrorsThatNameThePlace) {
  {
    NewFile file(path_);
    file.root().write("values", {2, 3}, std::vector<float>(6), {"1", "d"});
    file.close();
  }
  const Group root = open_file(path_);
  const auto message = [](const auto& call) -> std::string {
    try {
      call();
    } catch (const InputError& error) {
      return error.what();
    }
    return "no error";
  };
  const std::string shape = message([&] { root.read<float>("values", {3, 2}); });
  EXPECT_NE(shape.find("/values: expected the shape [3, 2], found [2, 3]"), std::string::npos)
      << shape;
  const std::string type = message([&] { root.read<std::int64_t>("values", {2, 3}); });
  EXPECT_NE(type.find("expected int64"), std::string::npos) << type;
  const std::string missing = message([&] { root.read<float>("other", {1}); });
  EXPECT_NE(missing.find("/other: is missing"), std::string::npos) << missing;
  EXPECT_NE(message([&] { root.open_group("values"); }), "no error");
  EXPECT_NE(message([&] { root.text_attribute("none"); }).find("no attribute 'none'"),
            std::string::npos);
}

TEST_F(Hdf5File, AnOpenGroupMakesCloseFail) {
  NewFile file(path_);
  const Group group = file.root().create_group("still_open");
  EXPECT_THROW(file.close(), RunError);
}

TEST_F(Hdf5File, CountAndShapeMustAgree) {
  NewFile file(path_);
  EXPECT_THROW(file.root().write("values", {2, 2}, std::vector<float>(3), {"1", "d"}),
               std::logic_error);
}

TEST_F(Hdf5File, WhatIsNoHdf5IsAnInputError) {
  EXPECT_THROW(open_file(path_), InputError);
  std::ofstream(path_) << "not HDF5 at all";
  EXPECT_THROW(open_file(path_), InputError);
  EXPECT_THROW(open_file(path_.parent_path()), InputError);
}

TEST(ValidUtf8, BadBytesAreReplaced) {
  EXPECT_EQ(valid_utf8("a\xE2\x82"), "a\uFFFD\uFFFD");
  EXPECT_EQ(valid_utf8(std::string_view("a\0b", 3)), "a\u2400b");
  EXPECT_EQ(valid_utf8("\xF0\x9F\x98\x80 ok"), "\xF0\x9F\x98\x80 ok");
  EXPECT_EQ(valid_utf8("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");  // a surrogate
}

}  // namespace
}  // namespace factflow::hdf5
