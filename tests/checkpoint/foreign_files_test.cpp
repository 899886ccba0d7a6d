// What lies where a checkpoint should, and is something else: it is named, with what to do.
#include "model/checkpoint/foreign_files.hpp"

#include "model/checkpoint/config_file.hpp"
#include "model/checkpoint/safetensors.hpp"
#include "model/checkpoint/shard_index.hpp"
#include "model/checkpoint/torch_archive.hpp"
#include "tests/checkpoint/support.hpp"

namespace factflow {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using namespace std::string_literals;

std::string error_of(const std::filesystem::path& directory) {
  return input_error([&] { Checkpoint::open(directory.string()); });
}

// As Python's tarfile writes a member's header.
std::string tar_file() {
  std::string bytes(1536, '\0');
  bytes.replace(0, 8, "storages").replace(257, 8, "ustar  \0"s);
  return bytes;
}

std::string some_safetensors() {
  static const std::vector<float> values = {7};
  return safetensors_of({{"a", tensor_of(values)}});
}

struct Content {
  const char* kind;
  std::string bytes;
};
const Content kContents[] = {
    {"is empty", ""},
    {"is a pointer that git-lfs left",
     "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"},
    {"is compressed with gzip", "\x1f\x8b\x08\0\0\0\0\0\0\3"s},
    {"is compressed with bzip2", "BZh91AY&SY"},
    {"is compressed with xz", "\xfd\x37zXZ\0"s},
    {"is compressed with zstd", "\x28\xb5\x2f\xfd\4"},
    {"is compressed with lz4", "\x04\x22\x4d\x18\x60"},
    {"is a 7z archive", "7z\xbc\xaf\x27\x1c\0\4"s},
    {"is a RAR archive", "Rar!\x1a\x07\1"},
    {"is a tar archive", tar_file()},
    {"is a GGUF file", "GGUF\3\0\0\0"s + std::string(16, '\0')},
    {"is a GGML file", "tjgg\1\0\0\0"s},
    {"is a Parquet table", "PAR1\x15\x04"},
    {"is an Arrow table", "ARROW1\0\0"s},
    {"is an HDF5 file", "\x89HDF\r\n\x1a\n\0"s},
    {"is an array of NumPy", "\x93NUMPY\1\0v\0"s},
    {"is a bare Python pickle", "\x80\4\x95\0\0\0\0\0\0\0\0}\x94."s},
    {"is in the format that torch wrote before version 1.6",
     "\x80\2\x8a\n\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."s},
    {"is a web page (HTML)", " \n<!DOCTYPE html><html><body>Please log in"},
    {"is a web page (HTML)", "<html>"},
    {"is XML", "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code>"}};

// Under each of the names that are read.
TEST(ForeignContent, IsNamedUnderAnyName) {
  for (const Content& content : kContents) {
    SCOPED_TRACE(content.kind);
    OwnedBuffers owned;
    const auto bytes = as_bytes(content.bytes);
    EXPECT_THAT(input_error([&] { read_safetensors(bytes, "m.safetensors"); }),
                HasSubstr("m.safetensors: "s + content.kind));
    EXPECT_THAT(input_error([&] { read_torch_archive(bytes, "m.bin", owned); }),
                HasSubstr("m.bin: "s + content.kind));
    // As text it is read by text_file.hpp, which has words of its own.
    const TemporaryDirectory directory;
    directory.write("config.json", content.bytes);
    EXPECT_THAT(error_of(directory.path()),
                AllOf(HasSubstr("config.json: is "), Not(HasSubstr("is not valid JSON"))));
    directory.write("config.json", "{}");
    directory.write("model.safetensors.index.json", content.bytes);
    EXPECT_THAT(error_of(directory.path()), AllOf(HasSubstr("model.safetensors.index.json: is "),
                                                  Not(HasSubstr("is not valid JSON"))));
  }
}

TEST(ForeignContent, SaysWhatToDo) {
  for (const Content& content : kContents)
    EXPECT_THAT(input_error([&] { refuse_foreign_content(as_bytes(content.bytes), "m"); }),
                HasSubstr("; "))
        << content.kind;
}

TEST(ForeignContent, IsNotSeenInWeightsThemselves) {
  EXPECT_FALSE(foreign_content(as_bytes(some_safetensors()), "m"));
  // Headers whose lengths begin as gzip's and a pickle's magic numbers do.
  for (const size_t length : {size_t{0x8b1f}, size_t{0x0280}, size_t{0x0480}}) {
    std::string header = "{}";
    header.resize(length, ' ');
    EXPECT_FALSE(foreign_content(as_bytes(safetensors(header, "")), "m")) << length;
  }
  EXPECT_FALSE(
      foreign_content(as_bytes(read_file(test_folder() / "pickles" / "protocol4.bin")), "m"));
}

TEST(ForeignContent, OneFormOfWeightsUnderTheNameOfTheOther) {
  OwnedBuffers owned;
  EXPECT_THAT(input_error([&] {
                read_torch_archive(as_bytes(some_safetensors()), "pytorch_model.bin", owned);
              }),
              AllOf(HasSubstr("is a file of safetensors"), HasSubstr("model.safetensors")));
  const std::string archive = read_file(test_folder() / "pickles" / "protocol4.bin");
  EXPECT_THAT(
      input_error([&] { read_safetensors(as_bytes(archive), "model.safetensors"); }),
      AllOf(HasSubstr("is a zip archive, as torch.save writes"), HasSubstr("pytorch_model.bin")));
}

struct Named {
  const char *name, *content, *kind;
};
const Named kNamed[] = {
    {"adapter_config.json", "{}", "describes an adapter"},
    {"adapter_model.safetensors", "x", "is an adapter"},
    {"model-Q4_K_M.gguf", "x", "is a GGUF file"},
    {"weights", "GGUF\3", "is a GGUF file"},
    {"ggml-model.bin", "GGUF\3", "is a GGUF file"},
    {"tf_model.h5", "x", "holds weights of TensorFlow"},
    {"tf_model-00001-of-00002.h5", "x", "holds weights of TensorFlow"},
    {"model.ckpt.index", "x", "is a checkpoint of TensorFlow 1"},
    {"flax_model.msgpack", "x", "holds weights of Flax"},
    {"consolidated.safetensors", "x", "holds weights in Mistral's own form"},
    {"consolidated.00.pth", "x", "holds weights in Meta's or Mistral's own form"},
    {"params.json", "{}", "is the configuration of Meta's or Mistral's own form"},
    {"model.onnx", "x", "is a model of ONNX"},
    {"openvino_model.bin", "x", "is a model of OpenVINO"},
    {"rust_model.ot", "x", "holds weights of rust-bert"},
    {"train-00000.parquet", "PAR1", "is a Parquet table"},
    {"model.safetensors.gz", "\x1f\x8b", "is compressed with gzip"},
    {"model.tar.gz", "\x1f\x8b", "is compressed with gzip"},
    {"model.zip", "PK", "is a zip archive"},
    {"model.tar", "x", "is a tar archive"},
    {"model-00001-of-00002.safetensors", "x", "is a shard without model.safetensors.index.json"},
    {"pytorch_model-00001-of-00002.bin", "x", "is a shard without pytorch_model.bin.index.json"},
    {"model.safetensors.incomplete", "x", "is an unfinished download"},
    {"__0_0.distcp", "x", "is a part of a distributed checkpoint"},
    {"weights.safetensors", "x", "has another name than factflow looks for"},
    {"weights.bin", "PK", "has another name than factflow looks for"},
    {"model.pth", "PK", "is a file of torch under a name that factflow does not look for"}};

TEST(ForeignDirectory, IsNamedByWhatItHolds) {
  for (const Named& named : kNamed)
    for (const bool with_config : {false, true}) {
      SCOPED_TRACE(named.name);
      if (with_config && named.name == "adapter_config.json"s)
        continue;  // Checkpoint.RefusesAnAdapter
      const TemporaryDirectory directory;
      directory.write(named.name, named.content);
      directory.write("training_args.bin", "PK");
      if (with_config) directory.write("config.json", "{}");
      EXPECT_THAT(
          error_of(directory.path()),
          AllOf(HasSubstr(with_config ? "holds no weights: tried model.safetensors, "
                                      : "holds no config.json"),
                testing::ContainsRegex("; its '"s + named.name + "' " + named.kind + ".*; .+")));
    }
}

TEST(ForeignDirectory, OfUnknownThingsSaysWhatWasTried) {
  const TemporaryDirectory directory;
  directory.write("notes.txt", "nothing");
  EXPECT_THAT(error_of(directory.path()),
              AllOf(HasSubstr("holds no config.json; expected a checkpoint directory"),
                    Not(HasSubstr("notes.txt"))));
}

TEST(ForeignDirectory, OfTheHuggingFaceCacheOrOfATraining) {
  const TemporaryDirectory cached, training;
  cached.write("snapshots/0123/config.json", "{}");
  EXPECT_THAT(error_of(cached.path()), HasSubstr("name it hf:ORG/NAME"));
  training.write("checkpoint-500/config.json", "{}");
  EXPECT_THAT(error_of(training.path()), HasSubstr("'checkpoint-500' is a checkpoint that"));
}

TEST(ForeignFile, InPlaceOfADirectoryIsNamed) {
  const TemporaryDirectory directory;
  EXPECT_THAT(error_of(directory.write("llama.gguf", "x")),
              AllOf(HasSubstr("is a file, expected a checkpoint directory"),
                    HasSubstr("it is a GGUF file")));
  EXPECT_THAT(error_of(directory.write("llama", "GGUF")), HasSubstr("it is a GGUF file"));
  EXPECT_THAT(error_of(directory.write("model.tgz", "\x1f\x8b\x08")),
              HasSubstr("it is compressed with gzip"));
  EXPECT_THAT(error_of(directory.write("model.safetensors", some_safetensors())),
              HasSubstr("name the directory that holds it"));
}

}  // namespace
}  // namespace factflow
