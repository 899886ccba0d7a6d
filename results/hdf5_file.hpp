// Checked, owning wrappers around the HDF5 C library: the only door to HDF5 in the project.
//
// Reading throws InputError (where = "FILE: /path/in/file"), writing throws RunError; HDF5 itself
// prints nothing. Nothing is allocated by a number that a file merely claims: a shape is compared
// with what the caller expects or capped, and a dataset may not claim more bytes than its stored
// bytes can hold.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace factflow::hdf5 {

// An HDF5 identifier (hid_t), reference-counted by the library: a group stays usable after its file
// object is gone.
class Handle {
 public:
  Handle() = default;
  explicit Handle(std::int64_t id) : id_(id) {}
  ~Handle();
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    return *this;
  }
  std::int64_t get() const { return id_; }
  std::int64_t release() { return std::exchange(id_, -1); }

 private:
  std::int64_t id_ = -1;
};

using Shape = std::vector<std::size_t>;

// What every dataset says about itself.
struct Label {
  std::string units;        // "1" for a plain number, "layer", "token", ...
  std::string description;  // one sentence
};

// A dataset that is being written: it can become the scale of an axis, or get scales attached to
// its own axes.
class Dataset {
 public:
  Dataset(Handle handle, std::string name, std::string where)
      : handle_(std::move(handle)), name_(std::move(name)), where_(std::move(where)) {}

  // Makes this one-dimensional dataset a dimension scale called like the dataset.
  void make_scale();
  // One scale for each axis, in order; the axes get the scales' names as labels.
  void attach(const std::vector<const Dataset*>& scales);

 private:
  Handle handle_;
  std::string name_;
  std::string where_;
};

// A group of a file that is open for reading or for writing. Element types: float, double, int32_t,
// int64_t, and std::string (variable-length UTF-8; invalid bytes are replaced by U+FFFD and a NUL
// by U+2400 when written).
class Group {
 public:
  Group(Handle handle, std::string file, std::string path)
      : handle_(std::move(handle)), file_(std::move(file)), path_(std::move(path)) {}

  // Writing. `values` holds the product of `shape` elements, row-major; large datasets are chunked,
  // shuffled, deflated and check-summed.
  Group create_group(const std::string& name);
  template <typename T>
  Dataset write(const std::string& name, const Shape& shape, const std::vector<T>& values,
                const Label& label);
  // The same, made a dimension scale called `name`.
  template <typename T>
  Dataset write_scale(const std::string& name, const std::vector<T>& values, const Label& label);
  Dataset open_dataset(const std::string& name);  // to attach it once more
  void write_attribute(const std::string& name, std::string_view text);
  void write_attribute(const std::string& name, std::int64_t number);
  void write_attribute(const std::string& name, double number);

  // Reading.
  bool has(const std::string& name) const;
  bool has_attribute(const std::string& name) const;
  // Of groups and datasets, in the order in which they were written.
  std::vector<std::string> names() const;
  Group open_group(const std::string& name) const;
  template <typename T>
  std::vector<T> read(const std::string& name, const Shape& expected) const;  // exactly this shape
  template <typename T>
  std::vector<T> read_axis(
      const std::string& name) const;  // one-dimensional, of any length up to kMaxAxis
  std::string text_attribute(const std::string& name) const;
  std::int64_t integer_attribute(const std::string& name) const;
  double real_attribute(const std::string& name) const;

  const std::string& path() const { return path_; }
  std::string where(const std::string& name = "") const;  // "FILE: /group/name"

 private:
  Handle handle_;
  std::string file_;
  std::string path_;
};

inline constexpr std::size_t kMaxAxis = 100'000'000;

// Opens an existing file for reading, without file locks (a published file never changes).
Group open_file(const std::filesystem::path& path);

// A file that is being written from scratch.
class NewFile {
 public:
  explicit NewFile(const std::filesystem::path& path);  // replaces what is there
  Group& root() { return root_; }
  // Flushes and closes; every group and dataset of the file must be gone. The bytes are not yet
  // synced to the disk.
  void close();

 private:
  std::string path_;
  Handle handle_;
  Group root_;
};

// `text` with each invalid UTF-8 byte replaced by U+FFFD and each NUL by U+2400, so that every HDF5
// reader takes it.
std::string valid_utf8(std::string_view text);

std::string library_version();  // "1.10.8"

}  // namespace factflow::hdf5
