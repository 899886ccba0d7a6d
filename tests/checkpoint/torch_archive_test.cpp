#include "model/checkpoint/torch_archive.hpp"

#include "tests/checkpoint/support.hpp"

namespace factflow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// One of the files that make_pickles.py wrote.
std::filesystem::path pickle_file(const std::string& name) {
  return test_folder() / "pickles" / (name + ".bin");
}

std::vector<double> values(const StoredTensor& tensor) {
  std::vector<double> all(static_cast<size_t>(tensor.count()));
  convert(tensor, 0, std::span(all));
  return all;
}

size_t owned_bytes(const TensorFile& file) {
  size_t bytes = 0;
  for (const auto& buffer : file.owned) bytes += buffer.size();
  return bytes;
}

void expect_all_types(const TensorMap& tensors) {
  ASSERT_EQ(tensors.size(), 15u);
  EXPECT_THAT(values(tensors.at("f32")),
              ElementsAre(0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5));
  EXPECT_EQ(tensors.at("f32").shape, (std::vector<std::int64_t>{3, 4}));
  EXPECT_THAT(values(tensors.at("view")), ElementsAre(2, 2.5, 3, 3.5));
  EXPECT_EQ(tensors.at("tied").bytes.data(), tensors.at("f32").bytes.data());
  EXPECT_EQ(tensors.at("view").bytes.data(), tensors.at("f32").bytes.data() + 16);
  EXPECT_TRUE(tensors.at("scalar").shape.empty());
  EXPECT_THAT(values(tensors.at("scalar")), ElementsAre(5.5));
  EXPECT_EQ(tensors.at("empty").count(), 0);
  EXPECT_THAT(values(tensors.at("one")), ElementsAre(1.5, 2));
  EXPECT_THAT(values(tensors.at("f64")), ElementsAre(1.25, -2.5));
  EXPECT_THAT(values(tensors.at("f16")), ElementsAre(1.5, -0.25));
  EXPECT_THAT(values(tensors.at("bf16")), ElementsAre(1.5, -0.25));
  for (const auto& [name, type] : std::map<std::string, StoredType>{{"i64", StoredType::kI64},
                                                                    {"i32", StoredType::kI32},
                                                                    {"i16", StoredType::kI16},
                                                                    {"i8", StoredType::kI8},
                                                                    {"u8", StoredType::kU8},
                                                                    {"bool", StoredType::kBool}}) {
    EXPECT_EQ(tensors.at(name).type, type);
    EXPECT_EQ(tensors.at(name).bytes.size(), 2 * size_of(type));
  }
}

TEST(TorchArchive, ReadsEveryTypeInPlace) {
  for (const char* name : {"protocol2", "protocol3", "protocol4", "protocol5", "zip32",
                           "zip64_entries", "zip64_directory"}) {
    SCOPED_TRACE(name);
    const TensorFile file = open_torch_archive(pickle_file(name));
    expect_all_types(file.tensors);
    EXPECT_EQ(owned_bytes(file), 0u);
  }
}

TEST(TorchArchive, InflatesIntoOwnedBuffers) {
  const TensorFile file = open_torch_archive(pickle_file("deflated"));
  expect_all_types(file.tensors);
  EXPECT_GT(owned_bytes(file), 0u);
}

TEST(TorchArchive, ReadsParametersAndAttributes) {
  const TensorFile file = open_torch_archive(pickle_file("parameter"));
  EXPECT_THAT(values(file.tensors.at("p")), ElementsAre(1, 2));
  EXPECT_THAT(values(file.tensors.at("q")), ElementsAre(1, 2));
}

TEST(TorchArchive, ReadsUntypedStorages) {
  EXPECT_THAT(values(open_torch_archive(pickle_file("untyped")).tensors.at("t")),
              ElementsAre(2, 3));
}

TEST(TorchArchive, MakesStridedTensorsContiguous) {
  const TensorFile file = open_torch_archive(pickle_file("strided"));
  EXPECT_THAT(values(file.tensors.at("t")), ElementsAre(0, 3, 1, 4, 2, 5));
  EXPECT_EQ(owned_bytes(file), 24u);
}

struct Refused {
  const char* name;
  const char* message;
};
void PrintTo(const Refused& refused, std::ostream* out) {
  *out << refused.name;
}

std::string name_of(const testing::TestParamInfo<Refused>& info) {
  return info.param.name;
}

class RefusedPickle : public testing::TestWithParam<Refused> {};

TEST_P(RefusedPickle, IsRefusedByName) {
  const std::string error = input_error([] { open_torch_archive(pickle_file(GetParam().name)); });
  EXPECT_THAT(error, HasSubstr(std::string(GetParam().name) + ".bin: "));
  EXPECT_THAT(error, HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Dangerous, RefusedPickle,
    testing::Values(Refused{"os_system", "refuses the global os.system"},
                    Refused{"posix_system", "refuses the global posix.system"},
                    Refused{"nested_reduce", "refuses the global builtins.eval"},
                    Refused{"inst", "refuses the global os.system"},
                    Refused{"getattr", "refuses the global builtins.getattr"},
                    Refused{"call_storage", "refuses a call of torch.FloatStorage"},
                    Refused{"complex", "refuses the global torch.ComplexFloatStorage"},
                    Refused{"complex_dtype", "refuses the global torch.complex64"},
                    Refused{"memo_bomb", "nests deeper than 64 levels"},
                    Refused{"small_memo_bomb", "holds a list, expected a dict of tensors"},
                    Refused{"nested_lists", "nests deeper than 64 groups"},
                    Refused{"cycle", "entry 't' is a list, expected a tensor"},
                    Refused{"memo_index",
                            "uses the memo index 4294967295, expected less than 1048576"},
                    Refused{"deep", "nests deeper than 64 groups"},
                    Refused{"zip_bomb", "zip entry 'pytorch_model/data/0': refuses a zip bomb"},
                    Refused{"zip_wrong_size", "does not inflate to its 17 bytes"},
                    Refused{"zip_wrong_crc", "does not match its CRC"}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    BadArchive, RefusedPickle,
    testing::Values(Refused{"zip_encrypted", "zip entry 'pytorch_model/data/0': is encrypted"},
                    Refused{"zip_method",
                            "has the compression method 12, expected stored or deflated"},
                    Refused{"zip_other_header", "has another name in its local header"},
                    Refused{"zip_no_header", "has no local header at byte 7"},
                    Refused{"zip_stored_sizes", "8 bytes in 4, expected a stored entry"},
                    Refused{"zip_no_zip64", "has no zip64 sizes"},
                    Refused{"zip_disks", "is a zip archive of several disks"},
                    Refused{"zip_twice", "holds the zip entry 'pytorch_model/data.pkl' twice"},
                    Refused{"zip_two_folders", "holds two entries data.pkl, expected one"},
                    Refused{"zip_count", "holds more than its 1 entries"},
                    Refused{"zip_damaged_entry", "has a damaged zip directory entry"}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    BadTensor, RefusedPickle,
    testing::Values(
        Refused{"expanded",
                "tensor 't': has the shape [1000, 1000] and the strides [0, 0], which need more"},
        Refused{"past_end", "tensor 't': ends at element 3 of a storage of 2"},
        Refused{"negative_offset", "tensor 't': has the impossible offset -1"},
        Refused{"negative_stride", "strides [-1]"},
        Refused{"negative_size", "tensor 't': has the shape [-2], expected no negative size"},
        Refused{"overflow", "overflows"},
        Refused{"far_stride",
                "tensor 't': has the impossible offset 0 or strides [4611686018427387904]"},
        Refused{"uneven_strides", "gives 1 sizes and 2 strides to torch._utils._rebuild_tensor_v2"},
        Refused{"many_dimensions", "gives 17 dimensions"},
        Refused{"storage_count", "lies in a storage of 12 bytes, but the entry holds 8"},
        Refused{"negative_count", "holds a storage of -1 elements"},
        Refused{"huge_integer", "holds an integer of 9 bytes"},
        Refused{"missing_entry",
                "tensor 't': lies in the entry 'pytorch_model/data/0', which is missing"}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    BadFile, RefusedPickle,
    testing::Values(Refused{"missing_pickle", "holds no entry data.pkl"},
                    Refused{"big_endian", "has the byte order 'big', expected 'little'"},
                    Refused{"torchscript", "is a TorchScript program; save its state_dict()"},
                    Refused{
                        "training_state",
                        "entry 'epoch' is an integer, expected a tensor; save model.state_dict()"},
                    Refused{"list_root", "holds a list, expected a dict of tensors"},
                    Refused{"integer_name", "holds a dict with an integer as a key"},
                    Refused{"old_format",
                            "before version 1.6; load it with torch.load(..., weights_only=True)"},
                    Refused{"protocol0", "does not begin as a pickle does"},
                    Refused{"protocol6", "has the pickle protocol 6, expected 2 to 5"},
                    Refused{"unknown_opcode", "holds the unknown pickle opcode 0xff"},
                    Refused{"set_opcode", "refuses the pickle opcode EMPTY_SET"},
                    Refused{"cut_short", "ends in the middle of a value"},
                    Refused{"no_stop", "ends in the middle of a value"},
                    Refused{"empty_stack", "takes a value from an empty stack"},
                    Refused{"no_mark", "closes a group that was not opened"},
                    Refused{"unset_memo", "reads the memo index 5, which is not set"},
                    Refused{"odd_items", "holds a dict key without a value"},
                    Refused{"not_a_dict", "holds None where a dict is expected"},
                    Refused{"not_callable", "holds None where a function is expected"},
                    Refused{"build_none", "holds None where an OrderedDict is expected"},
                    Refused{"bad_id", "holds None as a persistent id"},
                    Refused{"unended_name", "holds a name without an end"},
                    Refused{"twice", "holds the tensor 't' twice"}),
    name_of);

// Each byte of a good file set to 0 and to 0xff, and each length it could be cut to: an error or
// tensors, never a crash.
TEST(TorchArchive, SurvivesDamage) {
  const std::string good = read_file(pickle_file("protocol4"));
  const auto read_all = [](const std::string& bytes) {
    OwnedBuffers owned;
    return input_error([&] {
      for (const auto& [name, tensor] : read_torch_archive(as_bytes(bytes), "damaged.bin", owned))
        count_non_finite(tensor);
    });
  };
  EXPECT_EQ(read_all(good), "");
  for (size_t i = 0; i < good.size(); ++i) {
    EXPECT_NE(read_all(good.substr(0, i)), "") << i;
    for (const char byte : {'\0', '\xff'}) {
      std::string damaged = good;
      damaged[i] = byte;
      read_all(damaged);
    }
  }
}

TEST(TorchArchive, RefusesWhatIsNoZip) {
  OwnedBuffers owned;
  const auto error_of = [&](const std::string& bytes) {
    return input_error([&] { read_torch_archive(as_bytes(bytes), "m.bin", owned); });
  };
  EXPECT_THAT(error_of(""), HasSubstr("m.bin: is empty"));
  EXPECT_THAT(error_of("version https://git-lfs.github.com/spec/v1"), HasSubstr("git lfs pull"));
  EXPECT_THAT(error_of(std::string(100, 'x')), HasSubstr("m.bin: is no zip archive"));
  EXPECT_THAT(error_of("PK\3\4" + std::string(100, '\0')),
              HasSubstr("has no zip directory at its end"));
}

}  // namespace
}  // namespace factflow
