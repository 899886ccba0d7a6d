#include "model/checkpoint/safetensors.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include "tests/checkpoint/support.hpp"

namespace factflow {
namespace {

using testing::HasSubstr;

TensorMap read(const std::string& file) {
  return read_safetensors(as_bytes(file), "m.safetensors");
}
std::string error_of(const std::string& header, const std::string& data = std::string(8, '\0')) {
  return input_error([&] { read(safetensors(header, data)); });
}

TEST(Safetensors, ReadsEveryType) {
  const std::string file = safetensors(
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},"c":{"dtype":"BF16","shape":[],"data_offsets":[12,14]},)"
      R"("d":{"dtype":"F16","shape":[1,1],"data_offsets":[14,16]},"e":{"dtype":"I64","shape":[1],"data_offsets":[16,24]},)"
      R"("f":{"dtype":"I32","shape":[1],"data_offsets":[24,28]},"g":{"dtype":"I16","shape":[1],"data_offsets":[28,30]},)"
      R"("h":{"dtype":"I8","shape":[1],"data_offsets":[30,31]},"i":{"dtype":"U8","shape":[1],"data_offsets":[31,32]},)"
      R"("j":{"dtype":"BOOL","shape":[2],"data_offsets":[32,34]},"k":{"dtype":"F32","shape":[0,7],"data_offsets":[34,34]}}   )",
      std::string(34, '\1'));
  const TensorMap tensors = read(file);
  ASSERT_EQ(tensors.size(), 11u);
  EXPECT_EQ(tensors.at("c").type, StoredType::kBF16);
  EXPECT_EQ(tensors.at("d").shape, (std::vector<std::int64_t>{1, 1}));
  EXPECT_EQ(tensors.at("k").count(), 0);
  EXPECT_EQ(tensors.at("j").bytes.data(), as_bytes(file).data() + file.size() - 2);
}

TEST(Safetensors, RefusesADamagedFrame) {
  EXPECT_THAT(input_error([] { read(""); }), HasSubstr("m.safetensors: is empty"));
  EXPECT_THAT(input_error([] { read("abc"); }), HasSubstr("is 3 bytes long, too short"));
  EXPECT_THAT(input_error([] { read(std::string(64, '\xff')); }),
              HasSubstr("18446744073709551615 bytes long, expected at most"));
  EXPECT_THAT(input_error([] { read(safetensors("{}", "").substr(0, 9)); }),
              HasSubstr("2 bytes long, but only 1 follow"));
  EXPECT_THAT(input_error([] { read("version https://git-lfs.github.com/spec/v1\n"); }),
              HasSubstr("git lfs pull"));
}

TEST(Safetensors, RefusesABadHeader) {
  EXPECT_THAT(error_of("{"),
              HasSubstr("m.safetensors: is not valid JSON: 'parse error at line 1, column 2"));
  EXPECT_THAT(error_of("[]"), HasSubstr("does not begin with {"));
  EXPECT_THAT(error_of(""), HasSubstr("does not begin with {"));
  EXPECT_THAT(error_of("{\"\xff\":1}"), HasSubstr("is not valid JSON"));
  EXPECT_THAT(error_of(R"({"a":1e999})"), HasSubstr("holds a number that is too large"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"F32"},"a":{}})"), HasSubstr("holds the key 'a' twice"));
  EXPECT_THAT(error_of("{\"a\":" + std::string(100'000, '[')),
              HasSubstr("nests deeper than 8 levels"));
  EXPECT_THAT(error_of(R"({"a":7})"), HasSubstr("tensor 'a': is described by a JSON number"));
}

TEST(Safetensors, RefusesABadTensor) {
  const auto tensor = [](const std::string& dtype, const std::string& shape,
                         const std::string& offsets) {
    return error_of(R"({"x":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" +
                    offsets + "}}");
  };
  EXPECT_EQ(tensor(R"("F32")", "[2]", "[0,8]"), "");
  EXPECT_THAT(tensor(R"("F8_E4M3")", "[8]", "[0,8]"),
              HasSubstr("tensor 'x': has the dtype 'F8_E4M3', which is not supported"));
  EXPECT_THAT(tensor("3", "[2]", "[0,8]"), HasSubstr("has no dtype"));
  EXPECT_THAT(tensor(R"("F32")", "2", "[0,8]"), HasSubstr("has no shape"));
  EXPECT_THAT(tensor(R"("F32")", "[-2]", "[0,8]"),
              HasSubstr("key shape: found '-2', expected non-negative"));
  EXPECT_THAT(tensor(R"("F32")", "[2.0]", "[0,8]"), HasSubstr("key shape: found '2.0'"));
  EXPECT_THAT(tensor(R"("F32")", "[18446744073709551615]", "[0,8]"), HasSubstr("key shape: found"));
  EXPECT_THAT(tensor(R"("F32")", "[4294967296,4294967296]", "[0,8]"), HasSubstr("overflows"));
  EXPECT_THAT(tensor(R"("F32")", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2]", "[0,8]"),
              HasSubstr("17 dimensions"));
  EXPECT_THAT(tensor(R"("F32")", "[2]", "[0]"),
              HasSubstr("has data_offsets [0], expected [begin, end]"));
  EXPECT_THAT(tensor(R"("F32")", "[2]", "[8,0]"), HasSubstr("has data_offsets [8, 0]"));
  EXPECT_THAT(tensor(R"("F32")", "[3]", "[0,12]"),
              HasSubstr("ends at byte 12 of the data, but the file holds 8"));
  EXPECT_THAT(tensor(R"("F32")", "[1]", "[0,8]"), HasSubstr("takes 8 bytes, but F32 [1] needs 4"));
}

TEST(Safetensors, RefusesHolesAndOverlaps) {
  const auto two = [](const char* a, const char* b) {
    return error_of(std::string(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)") + a +
                    R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + b + "}}");
  };
  EXPECT_EQ(two("[4,8]", "[0,4]"), "");
  EXPECT_THAT(two("[0,4]", "[2,6]"),
              HasSubstr("tensor 'b': begins at byte 2, inside the tensor before it"));
  EXPECT_THAT(two("[0,4]", "[0,4]"), HasSubstr("inside the tensor before it"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})"),
              HasSubstr("leaves a hole of 4 bytes"));
  EXPECT_THAT(error_of(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})"),
              HasSubstr("holds 8 bytes of data, but its tensors end at 4"));
}

TEST(Safetensors, ShowsHostileNamesHarmlessly) {
  const std::string name = "\\u001b[31m" + std::string(500, 'x');
  const std::string error = error_of(R"({")" + name + R"(":7})");
  EXPECT_THAT(error, HasSubstr("'?[31mxxx"));
  EXPECT_LT(error.size(), 300u);
}

// Opening maps: the pages of tensors are not read, whatever their size.
TEST(Safetensors, OpeningLeavesTensorPagesAlone) {
  constexpr size_t kBytes = size_t{1} << 30;
  const TemporaryDirectory directory;
  const std::string frame = safetensors(
      R"({"big":{"dtype":"F32","shape":[268435456],"data_offsets":[0,1073741824]}})", "");
  const auto path = directory.write("big.safetensors", frame);
  std::filesystem::resize_file(path, frame.size() + kBytes);  // sparse
  const TensorFile file = open_safetensors(path);
  EXPECT_TRUE(file.owned.empty());
  EXPECT_EQ(file.tensors.at("big").bytes.size(), kBytes);
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> resident((file.map.bytes().size() + page - 1) / page);
  ASSERT_EQ(::mincore(const_cast<std::byte*>(file.map.bytes().data()), file.map.bytes().size(),
                      resident.data()),
            0);
  size_t pages = 0;
  for (const unsigned char state : resident) pages += state & 1;
  EXPECT_LT(pages * page, size_t{4} << 20);  // the header and what the kernel reads ahead
}

}  // namespace
}  // namespace factflow
