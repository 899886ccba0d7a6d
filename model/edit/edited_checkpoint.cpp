#include "model/edit/edited_checkpoint.hpp"

#include <algorithm>
#include <cerrno>
#include <map>
#include <random>
#include <stdexcept>
#include <utility>

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include "base/error.hpp"
#include "base/file_operations.hpp"
#include "base/files.hpp"
#include "base/output_directory.hpp"
#include "model/checkpoint/safetensors_writer.hpp"
#include "model/upload.hpp"

namespace factflow {
namespace {

constexpr const char* kWeights = "model.safetensors";

// What of a checkpoint's directory is, or tells of, weights in any container.
bool is_of_weights(const std::filesystem::path& file) {
  constexpr std::string_view kEndings[] = {".safetensors", ".index.json", ".bin",  ".pt",
                                           ".pth",         ".ckpt",       ".h5",   ".msgpack",
                                           ".onnx",        ".gguf",       ".ggml", ".npz"};
  const std::string name = file.filename().string();
  return std::any_of(std::begin(kEndings), std::end(kEndings),
                     [&](std::string_view ending) { return name.ends_with(ending); });
}

// [rows, columns] in float64.
at::Tensor numbers_of(const StoredTensor& stored) {
  at::Tensor numbers = at::empty(stored.shape, at::kDouble);
  convert(stored, 0, {numbers.data_ptr<double>(), static_cast<std::size_t>(stored.count())});
  return numbers;
}

// The sum of the edits of one tensor, as it is stored.
struct Change {
  at::Tensor sum;  // float64
  std::size_t edits = 0;
};

void add(const SavedEdit& edit, const Network& network, const Checkpoint& checkpoint,
         std::map<std::string, Change>& changes) {
  EditableMatrix matrix;
  try {
    matrix = network.editable(edit.layer, edit.matrix).matrix;
  } catch (const std::invalid_argument& error) {
    throw InputError(checkpoint.directory().string(), error.what());
  }
  if (edit.r.sizes() != at::IntArrayRef{matrix.rows} ||
      edit.u.sizes() != at::IntArrayRef{matrix.columns})
    throw InputError(
        checkpoint.directory().string(),
        fmt::format("{} of layer {} is {} x {}, and an edit of it {} x {}", to_string(edit.matrix),
                    edit.layer, matrix.rows, matrix.columns, edit.r.numel(), edit.u.numel()));
  const Projection::Source& source = matrix.projection->source();
  if (source.tensor.empty())
    throw InputError(checkpoint.directory().string(),
                     fmt::format("{} of layer {} is no tensor of its own in the checkpoint",
                                 to_string(edit.matrix), edit.layer));
  Change& change = changes[source.tensor];
  if (!change.sum.defined())
    change.sum = at::zeros(checkpoint.tensors().at(source.tensor).shape, at::kDouble);
  (source.transposed ? change.sum.t() : change.sum)
      .narrow(0, matrix.first_row, matrix.rows)
      .narrow(1, matrix.first_column, matrix.columns)
      .add_(at::outer(edit.r.to(at::kDouble), edit.u.to(at::kDouble)));
  ++change.edits;
}

double norm_of(const at::Tensor& x) {
  return x.norm().item<double>();
}

// What one edited tensor becomes; `numbers` are its bytes.
EditedTensor edited(const std::string& name, const StoredTensor& stored, const Change& change,
                    at::Tensor& numbers) {
  const at::Tensor exact = numbers_of(stored) + change.sum;
  numbers = exact.to(as_torch(stored.type)).contiguous();
  const at::Tensor rounded = numbers.to(at::kDouble);
  if (!at::isfinite(rounded).all().item<bool>())
    throw InputError(stored.file, fmt::format("tensor {}: {} cannot hold its edited numbers", name,
                                              to_string(stored.type)));
  const double norm = norm_of(change.sum);
  return {name, stored.type, change.edits, norm, norm > 0 ? norm_of(rounded - exact) / norm : 0.0};
}

void copy_other_files(const std::filesystem::path& from, const std::filesystem::path& to) {
  for (const auto& entry : std::filesystem::directory_iterator(from)) {
    if (!entry.is_regular_file() || is_of_weights(entry.path())) continue;
    publish_file(to / entry.path().filename(), read_file(entry.path()));
  }
}

// Removes what was not given its place.
class Unfinished {
 public:
  explicit Unfinished(std::filesystem::path folder) : folder_(std::move(folder)) {
    make_directories(system_files(), folder_);
  }
  ~Unfinished() {
    try {
      if (!folder_.empty()) remove_tree(folder_);
    } catch (const RunError&) {  // it is hidden, and the error that led here is told
    }
  }
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;

  const std::filesystem::path& folder() const { return folder_; }
  void publish(const std::filesystem::path& place) {
    FileOperations& files = system_files();
    sync_directory(files, folder_);
    if (files.rename(folder_, place) != 0) throw_file_error(place, "rename to it", errno);
    folder_.clear();
    sync_directory(files, place.parent_path());
  }

 private:
  std::filesystem::path folder_;
};

}  // namespace

std::vector<EditedTensor> write_edited_checkpoint(const Checkpoint& checkpoint,
                                                  const Network& network,
                                                  std::span<const SavedEdit> edits,
                                                  const std::filesystem::path& out) {
  const at::NoGradGuard no_graph;
  std::filesystem::path place = std::filesystem::absolute(out).lexically_normal();
  if (place.filename().empty()) place = place.parent_path();  // it was written with a slash
  if (const auto names = names_in_output(system_files(), place); !names.empty())
    refuse_foreign(place, names);
  std::map<std::string, Change> changes;
  for (const SavedEdit& edit : edits) add(edit, network, checkpoint, changes);
  TensorMap tensors = checkpoint.tensors();
  std::vector<EditedTensor> told;
  std::vector<at::Tensor> numbers(changes.size());
  for (const auto& [name, change] : changes) {
    StoredTensor& stored = tensors.at(name);
    at::Tensor& bytes = numbers[told.size()];
    told.push_back(edited(name, stored, change, bytes));
    stored.bytes = {static_cast<const std::byte*>(bytes.data_ptr()), bytes.nbytes()};
  }
  std::random_device random;
  Unfinished unfinished(place.parent_path() /
                        fmt::format(".{}.{:08x}", place.filename().string(), random()));
  write_safetensors(unfinished.folder() / kWeights, tensors);
  copy_other_files(checkpoint.directory(), unfinished.folder());
  unfinished.publish(place);
  return told;
}

}  // namespace factflow
