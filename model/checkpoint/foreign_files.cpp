#include "model/checkpoint/foreign_files.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <vector>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "base/text_file.hpp"
#include "model/checkpoint/zip_archive.hpp"

namespace factflow {
namespace {

namespace fs = std::filesystem;
using namespace std::string_view_literals;

constexpr const char* kUnpack = "unpack it, and name the directory that holds config.json";
constexpr const char* kOriginal =
    "use the model's directory in Hugging Face's form, with config.json and model.safetensors";
constexpr const char* kSaveAgain =
    "load it with torch, where you trust it, and save its tensors as model.safetensors";
constexpr const char* kTransformers4 =
    "use the PyTorch weights, or convert with transformers 4: "
    "AutoModelForCausalLM.from_pretrained(DIR, from_{}=True).save_pretrained(NEW)";
constexpr const char* kMerge =
    "merge it into its base model with peft (merge_and_unload, then save_pretrained) and name the "
    "result";

struct Magic {
  std::string_view bytes;
  const char *what, *remedy;
};

// What text_file.hpp does not know, or knows as what should be text.
const Magic kMagics[] = {
    {"PAR1", "is a Parquet table: a data set, no weights", kOriginal},
    {"ARROW1", "is an Arrow table: a data set, no weights", kOriginal},
    {"\x89HDF\r\n\x1a\n", "is an HDF5 file, as TensorFlow and Keras save weights", kOriginal},
    {"\x93NUMPY", "is an array of NumPy", kOriginal},
    // Protocol 2, then a LONG1 of ten bytes: the magic number that opened torch's files before they
    // were zip archives.
    {"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"sv,
     "is in the format that torch wrote before version 1.6",
     "load it with torch.load(..., weights_only=True) and save it again, best as "
     "model.safetensors"},
    {"\x80\x02", "is a bare Python pickle", kSaveAgain},
    {"\x80\x03", "is a bare Python pickle", kSaveAgain},
    {"\x80\x04", "is a bare Python pickle", kSaveAgain},
    {"\x80\x05", "is a bare Python pickle", kSaveAgain},
};

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool is_tar(std::string_view text) {
  constexpr size_t kMagicAt = 257;
  return text.size() > kMagicAt && text.substr(kMagicAt).starts_with("ustar");
}

// A file that is known by its name: the whole of it, or its ending.
struct Name {
  const char* pattern;  // "*" stands for anything
  const char *what, *remedy;
};

const std::vector<Name>& foreign_names() {
  static const std::string flax = fmt::format(kTransformers4, "flax"),
                           tensorflow = fmt::format(kTransformers4, "tf");
  static const std::vector<Name> names = {
      {"adapter_config.json", "describes an adapter (LoRA or alike), not a model", kMerge},
      {"adapter_model.*", "is an adapter (LoRA or alike), not a model", kMerge},
      {"*.gguf", "is a GGUF file of llama.cpp", kOriginal},
      {"*.ggml", "is a GGML file of llama.cpp", kOriginal},
      {"tf_model*.h5", "holds weights of TensorFlow", tensorflow.c_str()},
      {"*.h5", "is an HDF5 file, as TensorFlow and Keras save weights", tensorflow.c_str()},
      {"*.keras", "is a model of Keras", kOriginal},
      {"*.ckpt.index", "is a checkpoint of TensorFlow 1", kOriginal},
      {"*.ckpt.meta", "is a checkpoint of TensorFlow 1", kOriginal},
      {"*.msgpack", "holds weights of Flax", flax.c_str()},
      {"consolidated*.safetensors", "holds weights in Mistral's own form", kOriginal},
      {"consolidated*.pth", "holds weights in Meta's or Mistral's own form", kOriginal},
      {"params.json", "is the configuration of Meta's or Mistral's own form", kOriginal},
      {"*.onnx", "is a model of ONNX", kOriginal},
      {"*.tflite", "is a model of TensorFlow Lite", kOriginal},
      {"*.mlmodel", "is a model of Core ML", kOriginal},
      {"*.mlpackage", "is a model of Core ML", kOriginal},
      {"openvino_model*", "is a model of OpenVINO", kOriginal},
      {"rust_model.ot", "holds weights of rust-bert", kOriginal},
      {"*.nemo", "is a model of NeMo", kOriginal},
      {"*.distcp", "is a part of a distributed checkpoint of torch",
       "gather it with torch.distributed.checkpoint.format_utils.dcp_to_torch_save and save its "
       "tensors as model.safetensors"},
      {"zero_to_fp32.py", "belongs to a checkpoint of DeepSpeed",
       "run it to gather the weights into pytorch_model.bin"},
      {"model-*-of-*.safetensors", "is a shard without model.safetensors.index.json",
       "download the index, or the checkpoint again"},
      {"pytorch_model-*-of-*.bin", "is a shard without pytorch_model.bin.index.json",
       "download the index, or the checkpoint again"},
      {"*.incomplete", "is an unfinished download", "download the checkpoint again"},
      {"*.part", "is an unfinished download", "download the checkpoint again"},
      {"*.parquet", "is a Parquet table: a data set, no weights", kOriginal},
      {"*.gz", "is compressed with gzip", kUnpack},
      {"*.bz2", "is compressed with bzip2", kUnpack},
      {"*.xz", "is compressed with xz", kUnpack},
      {"*.zst", "is compressed with zstd", kUnpack},
      {"*.tar", "is a tar archive", kUnpack},
      {"*.zip", "is a zip archive", kUnpack},
  };
  return names;
}

// What the content, if it is not foreign itself, leaves open.
const std::vector<Name>& misplaced_names() {
  static const std::vector<Name> names = {
      {"*.safetensors", "has another name than factflow looks for",
       "name the weights model.safetensors, or put their index beside them"},
      {"*.bin", "has another name than factflow looks for",
       "name the weights pytorch_model.bin, or put their index beside them"},
      {"*.pth", "is a file of torch under a name that factflow does not look for",
       "name the weights pytorch_model.bin"},
      {"*.pt", "is a file of torch under a name that factflow does not look for",
       "name the weights pytorch_model.bin"},
      {"*.ckpt", "is a file of torch under a name that factflow does not look for",
       "save the model's state_dict() as pytorch_model.bin"},
      {"snapshots", "belongs to a model of the Hugging Face cache",
       "name it hf:ORG/NAME, or one of the directories in snapshots"},
      {"checkpoint-*", "is a checkpoint that a training saved", "name that directory"},
  };
  return names;
}

// What a training leaves beside its weights.
const std::vector<Name>& names_of_no_use() {
  static const std::vector<Name> names = {{"training_args.bin", "", ""},
                                          {"optimizer.*", "", ""},
                                          {"scheduler.*", "", ""},
                                          {"rng_state*", "", ""}};
  return names;
}

// The pattern holds any number of *.
bool matches(std::string_view name, std::string_view pattern) {
  const size_t star = pattern.find('*');
  if (star == pattern.npos) return name == pattern;
  if (!name.starts_with(pattern.substr(0, star))) return false;
  const std::string_view rest = pattern.substr(star + 1);
  for (size_t skipped = star; skipped <= name.size(); ++skipped)
    if (matches(name.substr(skipped), rest)) return true;
  return false;
}

const Name* find_name(const std::vector<Name>& list, const std::string& name) {
  const auto found = std::find_if(list.begin(), list.end(),
                                  [&](const Name& known) { return matches(name, known.pattern); });
  return found == list.end() ? nullptr : &*found;
}

struct Entry {
  std::string name;
  ForeignFile file;
};

// In the list's order, the first that the directory has.
std::optional<Entry> first_named(const std::vector<Name>& list,
                                 const std::vector<std::string>& names) {
  for (const Name& known : list)
    for (const std::string& name : names)
      if (matches(name, known.pattern)) return Entry{name, {known.what, known.remedy}};
  return std::nullopt;
}

std::vector<std::string> entries_of(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, ignored)) {
    std::string name = entry.path().filename().string();
    if (find_name(names_of_no_use(), name) == nullptr) names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<ForeignFile> content_of(const fs::path& file) {
  constexpr size_t kBegin = 512;  // a tar archive's first header
  std::error_code ignored;
  if (!fs::is_regular_file(file, ignored)) return std::nullopt;
  std::string begin(kBegin, '\0');
  std::ifstream stream(file, std::ios::binary);
  stream.read(begin.data(), static_cast<std::streamsize>(begin.size()));
  begin.resize(static_cast<size_t>(std::max<std::streamsize>(0, stream.gcount())));
  if (begin.empty()) return std::nullopt;
  return foreign_content(std::as_bytes(std::span(begin)), file.string());
}

std::optional<Entry> first_by_content(const fs::path& directory,
                                      const std::vector<std::string>& names) {
  for (const std::string& name : names)
    if (auto foreign = content_of(directory / name)) return Entry{name, std::move(*foreign)};
  return std::nullopt;
}

}  // namespace

std::optional<ForeignFile> foreign_content(std::span<const std::byte> bytes,
                                           const std::string& file) {
  const std::string_view text = text_of(bytes);
  if (text.empty()) return ForeignFile{"is empty", "download it again"};
  if (looks_like_safetensors(bytes) || ZipArchive::is_zip(bytes)) return std::nullopt;
  for (const Magic& magic : kMagics)
    if (text.starts_with(magic.bytes)) return ForeignFile{magic.what, magic.remedy};
  if (is_tar(text))
    return ForeignFile{
        "is a tar archive, of packed files or as the first versions of torch wrote it",
        "unpack it, or load it with torch.load and save its tensors as model.safetensors"};
  return foreign_file(text, file);
}

void refuse_foreign_content(std::span<const std::byte> bytes, const std::string& where) {
  if (const auto foreign = foreign_content(bytes, where))
    throw InputError(where, foreign->what, foreign->remedy);
}

bool looks_like_safetensors(std::span<const std::byte> bytes) {
  constexpr std::uint64_t kLargestHeader = 100'000'000;
  std::uint64_t length = 0;
  if (bytes.size() <= sizeof length) return false;
  std::memcpy(&length, bytes.data(), sizeof length);
  return length >= 2 && length <= kLargestHeader && bytes[sizeof length] == std::byte{'{'};
}

void refuse_directory(const fs::path& directory, const std::string& missing,
                      const std::string& remedy) {
  const std::vector<std::string> names = entries_of(directory);
  std::optional<Entry> found = first_named(foreign_names(), names);
  if (!found) found = first_by_content(directory, names);
  if (!found) found = first_named(misplaced_names(), names);
  if (!found) throw InputError(directory.string(), missing, remedy);
  throw InputError(directory.string(),
                   fmt::format("{}; its {} {}", missing, in_quotes(found->name), found->file.what),
                   found->file.remedy);
}

void refuse_file(const fs::path& file) {
  constexpr const char* kProblem = "is a file, expected a checkpoint directory";
  std::optional<ForeignFile> foreign;
  if (const Name* known = find_name(foreign_names(), file.filename().string()))
    foreign = ForeignFile{known->what, known->remedy};
  if (!foreign) foreign = content_of(file);
  if (!foreign) throw InputError(file.string(), kProblem, "name the directory that holds it");
  throw InputError(file.string(), fmt::format("{}; it {}", kProblem, foreign->what),
                   foreign->remedy);
}

}  // namespace factflow
