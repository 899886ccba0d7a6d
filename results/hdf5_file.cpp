#include "results/hdf5_file.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <type_traits>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <hdf5.h>
#include <hdf5_hl.h>
#include <utf8proc.h>

#include "base/error.hpp"

static_assert(std::is_same_v<hid_t, std::int64_t> || sizeof(hid_t) == sizeof(std::int64_t));

namespace factflow::hdf5 {
namespace {

constexpr std::size_t kChunkedFrom = 64 * 1024;          // bytes; smaller datasets stay contiguous
constexpr std::size_t kChunkBytes = 1024 * 1024;         // aimed at
constexpr std::size_t kMaxBytes = std::size_t{8} << 30;  // of one dataset in memory
// Deflate cannot pack tighter than 1032 : 1.
constexpr std::size_t kMaxDeflateRatio = 1100;
constexpr std::size_t kMaxAttributeText = std::size_t{64} << 20;

// HDF5 keeps "print errors" per thread, so each thread that gets here turns it off once. Its
// cleaning up at exit is turned off with it: files are closed here, and after a write to a full
// disk it crashes.
void silence() {
  thread_local const bool done = [] {
    H5dont_atexit();
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    return true;
  }();
  static_cast<void>(done);
}

// The innermost message of HDF5's error stack: the nearest thing to a reason.
std::string reason() {
  std::string text;
  const auto take = [](unsigned depth, const H5E_error2_t* error, void* out) -> herr_t {
    if (depth == 0 && error->desc != nullptr) *static_cast<std::string*>(out) = error->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take, &text);
  H5Eclear2(H5E_DEFAULT);
  // The text of a failed system call is long and has several lines; what the system said is in
  // quotes.
  const std::string mark = "error message = '";
  if (const std::size_t at = text.find(mark); at != std::string::npos) {
    text.erase(0, at + mark.size());
    text.erase(std::min(text.find('\''), text.size()));
  }
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text.empty() ? "HDF5 gives no reason" : text;
}

template <typename Status>
Status check_write(Status status, const std::string& where, const char* action) {
  if (status < 0)
    throw RunError(fmt::format(
        "{}: cannot {}: {}; finished work is kept: free some space, or see to the disk, and give "
        "the same command again",
        where, action, reason()));
  return status;
}

template <typename Status>
Status check_read(Status status, const std::string& where, const char* action) {
  if (status < 0)
    throw InputError(where, fmt::format("cannot {}: {}", action, reason()),
                     "the file is damaged or no results file");
  return status;
}

Handle text_type() {
  silence();
  Handle type(H5Tcopy(H5T_C_S1));
  H5Tset_size(type.get(), H5T_VARIABLE);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  return type;
}

template <typename T>
Handle memory_type() {
  if constexpr (std::is_same_v<T, float>) return Handle(H5Tcopy(H5T_NATIVE_FLOAT));
  if constexpr (std::is_same_v<T, double>) return Handle(H5Tcopy(H5T_NATIVE_DOUBLE));
  if constexpr (std::is_same_v<T, std::int32_t>) return Handle(H5Tcopy(H5T_NATIVE_INT32));
  if constexpr (std::is_same_v<T, std::int64_t>) return Handle(H5Tcopy(H5T_NATIVE_INT64));
  if constexpr (std::is_same_v<T, std::string>) return text_type();
}

template <typename T>
Handle file_type() {
  if constexpr (std::is_same_v<T, float>) return Handle(H5Tcopy(H5T_IEEE_F32LE));
  if constexpr (std::is_same_v<T, double>) return Handle(H5Tcopy(H5T_IEEE_F64LE));
  if constexpr (std::is_same_v<T, std::int32_t>) return Handle(H5Tcopy(H5T_STD_I32LE));
  if constexpr (std::is_same_v<T, std::int64_t>) return Handle(H5Tcopy(H5T_STD_I64LE));
  if constexpr (std::is_same_v<T, std::string>) return text_type();
}

template <typename T>
const char* type_name() {
  if constexpr (std::is_same_v<T, float>) return "float32";
  if constexpr (std::is_same_v<T, double>) return "float64";
  if constexpr (std::is_same_v<T, std::int32_t>) return "int32";
  if constexpr (std::is_same_v<T, std::int64_t>) return "int64";
  if constexpr (std::is_same_v<T, std::string>) return "variable-length text";
}

// Elements of a shape, or max() if that overflows.
std::size_t product(const Shape& shape) {
  std::size_t count = 1;
  for (const std::size_t axis : shape)
    if (__builtin_mul_overflow(count, axis, &count)) return std::numeric_limits<std::size_t>::max();
  return count;
}

std::string describe(const Shape& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// Splits the first axes until a chunk is near kChunkBytes: the last axes are what readers slice by.
std::vector<hsize_t> chunk_shape(const Shape& shape, std::size_t element) {
  std::vector<hsize_t> chunk(shape.begin(), shape.end());
  std::size_t bytes = product(shape) * element;
  for (std::size_t axis = 0; axis < chunk.size() && bytes > kChunkBytes; ++axis) {
    const std::size_t rest = bytes / chunk[axis];
    chunk[axis] = std::clamp<hsize_t>(kChunkBytes / std::max<std::size_t>(rest, 1), 1, chunk[axis]);
    bytes = rest * chunk[axis];
  }
  return chunk;
}

Handle creation_list(const Shape& shape, std::size_t element, bool text, const std::string& where) {
  Handle list(check_write(H5Pcreate(H5P_DATASET_CREATE), where, "make a property list"));
  const std::size_t bytes = product(shape) * element;
  // Texts live in HDF5's heaps, where filters do not reach them.
  if (text || bytes < kChunkedFrom) return list;
  const std::vector<hsize_t> chunk = chunk_shape(shape, element);
  check_write(H5Pset_chunk(list.get(), static_cast<int>(chunk.size()), chunk.data()), where,
              "set chunks");
  check_write(H5Pset_shuffle(list.get()), where, "set the shuffle filter");
  check_write(H5Pset_deflate(list.get(), 4), where, "set the deflate filter");
  check_write(H5Pset_fletcher32(list.get()), where, "set the check sum");
  return list;
}

void write_text_attribute(std::int64_t object, const std::string& name, std::string_view text,
                          const std::string& where) {
  const std::string clean = valid_utf8(text);
  const char* pointer = clean.c_str();
  const Handle type = text_type();
  const Handle space(H5Screate(H5S_SCALAR));
  const Handle attribute(check_write(
      H5Acreate2(object, name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), where,
      "create an attribute"));
  check_write(H5Awrite(attribute.get(), type.get(), &pointer), where, "write an attribute");
}

template <typename T>
void write_number_attribute(std::int64_t object, const std::string& name, T number,
                            const std::string& where) {
  const Handle space(H5Screate(H5S_SCALAR));
  const Handle type = file_type<T>();
  const Handle memory = memory_type<T>();
  const Handle attribute(check_write(
      H5Acreate2(object, name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), where,
      "create an attribute"));
  check_write(H5Awrite(attribute.get(), memory.get(), &number), where, "write an attribute");
}

// Whether values of the stored type fit T without loss of meaning: the same class, sign and width
// or less.
template <typename T>
bool type_fits(std::int64_t type) {
  const H5T_class_t kind = H5Tget_class(type);
  if constexpr (std::is_same_v<T, std::string>)
    return kind == H5T_STRING && H5Tis_variable_str(type) > 0;
  else if constexpr (std::is_floating_point_v<T>)
    return kind == H5T_FLOAT && H5Tget_size(type) <= sizeof(T);
  else
    return kind == H5T_INTEGER && H5Tget_size(type) <= sizeof(T) &&
           (H5Tget_sign(type) == H5T_SGN_2 || H5Tget_size(type) < sizeof(T));
}

Shape shape_of(std::int64_t dataset, const std::string& where) {
  const Handle space(check_read(H5Dget_space(dataset), where, "be read"));
  const int rank = check_read(H5Sget_simple_extent_ndims(space.get()), where, "be read");
  std::vector<hsize_t> axes(static_cast<std::size_t>(rank));
  if (rank > 0)
    check_read(H5Sget_simple_extent_dims(space.get(), axes.data(), nullptr), where, "be read");
  return Shape(axes.begin(), axes.end());
}

// Refuses sizes that the stored bytes cannot back, before anything is allocated for them.
void check_size(std::int64_t dataset, const Shape& shape, std::size_t element,
                const std::string& where) {
  const std::size_t count = product(shape);
  const std::size_t stored = H5Dget_storage_size(dataset);
  if (count > kMaxBytes / element)
    throw InputError(
        where, fmt::format("claims the shape {}, more than {} bytes", describe(shape), kMaxBytes));
  if (count * element / kMaxDeflateRatio > stored)
    throw InputError(
        where, fmt::format("claims the shape {} but stores {} bytes", describe(shape), stored),
        "the file is damaged");
}

std::vector<std::string> read_texts(std::int64_t dataset, std::size_t count,
                                    const std::string& where) {
  const Handle type = text_type();
  const Handle space(check_read(H5Dget_space(dataset), where, "be read"));
  std::vector<char*> pointers(count, nullptr);
  const herr_t status =
      H5Dread(dataset, type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, pointers.data());
  std::vector<std::string> texts(count);
  if (status >= 0)
    for (std::size_t i = 0; i < count; ++i)
      if (pointers[i] != nullptr) texts[i] = valid_utf8(pointers[i]);
  H5Dvlen_reclaim(type.get(), space.get(), H5P_DEFAULT, pointers.data());
  check_read(status, where, "be read");
  return texts;
}

template <typename T>
std::vector<T> read_values(std::int64_t dataset, const Shape& shape, const std::string& where) {
  const Handle type(check_read(H5Dget_type(dataset), where, "be read"));
  if (!type_fits<T>(type.get()))
    throw InputError(where, fmt::format("expected {} values", type_name<T>()));
  check_size(dataset, shape, std::is_same_v<T, std::string> ? sizeof(char*) : sizeof(T), where);
  const std::size_t count = product(shape);
  if constexpr (std::is_same_v<T, std::string>) {
    return read_texts(dataset, count, where);
  } else {
    std::vector<T> values(count);
    const Handle memory = memory_type<T>();
    if (count > 0)
      check_read(H5Dread(dataset, memory.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()),
                 where, "be read");
    return values;
  }
}

Handle open_for_reading(std::int64_t group, const std::string& name, const std::string& where) {
  silence();
  if (H5Lexists(group, name.c_str(), H5P_DEFAULT) <= 0)
    throw InputError(where, "is missing",
                     "write the file anew or analyse it with the version that wrote it");
  return Handle(check_read(H5Dopen2(group, name.c_str(), H5P_DEFAULT), where, "be opened"));
}

// A scalar attribute of the wanted class, opened.
Handle open_attribute(std::int64_t group, const std::string& name, H5T_class_t kind,
                      const std::string& where) {
  silence();
  if (H5Aexists(group, name.c_str()) <= 0)
    throw InputError(where, fmt::format("has no attribute '{}'", name));
  Handle attribute(
      check_read(H5Aopen(group, name.c_str(), H5P_DEFAULT), where, "open an attribute"));
  const Handle space(check_read(H5Aget_space(attribute.get()), where, "read an attribute"));
  const Handle type(check_read(H5Aget_type(attribute.get()), where, "read an attribute"));
  if (H5Sget_simple_extent_npoints(space.get()) != 1 || H5Tget_class(type.get()) != kind)
    throw InputError(where, fmt::format("attribute '{}' is not a single {}", name,
                                        kind == H5T_STRING ? "text" : "number"));
  return attribute;
}

// Texts of fixed length are what other tools may write.
std::string read_fixed_text(std::int64_t attribute, std::int64_t type, const std::string& where) {
  const std::size_t size = H5Tget_size(type);
  if (size == 0 || size > kMaxAttributeText)
    throw InputError(where, "has a text attribute of an impossible size");
  std::string text(size, '\0');
  check_read(H5Aread(attribute, type, text.data()), where, "read an attribute");
  return valid_utf8(text.c_str());
}

}  // namespace

Handle::~Handle() {
  if (id_ >= 0) H5Idec_ref(id_);
}

void Dataset::make_scale() {
  check_write(H5DSset_scale(handle_.get(), name_.c_str()), where_, "become a dimension scale");
}

void Dataset::attach(const std::vector<const Dataset*>& scales) {
  for (unsigned axis = 0; axis < scales.size(); ++axis) {
    check_write(H5DSattach_scale(handle_.get(), scales[axis]->handle_.get(), axis), where_,
                "get a dimension scale");
    check_write(H5DSset_label(handle_.get(), axis, scales[axis]->name_.c_str()), where_,
                "get an axis label");
  }
}

std::string Group::where(const std::string& name) const {
  if (name.empty()) return fmt::format("{}: {}", file_, path_);
  return fmt::format("{}: {}{}{}", file_, path_, path_ == "/" ? "" : "/", name);
}

Group Group::create_group(const std::string& name) {
  silence();
  const Handle list(H5Pcreate(H5P_GROUP_CREATE));
  check_write(H5Pset_link_creation_order(list.get(), H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED),
              where(name), "track the order of links");
  Handle group(
      check_write(H5Gcreate2(handle_.get(), name.c_str(), H5P_DEFAULT, list.get(), H5P_DEFAULT),
                  where(name), "create the group"));
  return Group(std::move(group), file_, (path_ == "/" ? "/" : path_ + "/") + name);
}

template <typename T>
Dataset Group::write(const std::string& name, const Shape& shape, const std::vector<T>& values,
                     const Label& label) {
  silence();
  const std::string place = where(name);
  if (product(shape) != values.size())
    throw std::logic_error(
        fmt::format("{}: shape {} but {} values", place, describe(shape), values.size()));
  constexpr bool text = std::is_same_v<T, std::string>;
  const std::vector<hsize_t> axes(shape.begin(), shape.end());
  const Handle space(
      check_write(H5Screate_simple(static_cast<int>(axes.size()), axes.data(), nullptr), place,
                  "make a data space"));
  const Handle type = file_type<T>();
  const Handle memory = memory_type<T>();
  const Handle list = creation_list(shape, sizeof(T), text, place);
  Handle dataset(check_write(H5Dcreate2(handle_.get(), name.c_str(), type.get(), space.get(),
                                        H5P_DEFAULT, list.get(), H5P_DEFAULT),
                             place, "create the dataset"));
  const auto put = [&](const void* data) {
    check_write(H5Dwrite(dataset.get(), memory.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, data), place,
                "write");
  };
  if constexpr (text) {
    std::vector<std::string> clean;
    std::vector<const char*> pointers;
    clean.reserve(values.size());
    for (const std::string& value : values)
      pointers.push_back(clean.emplace_back(valid_utf8(value)).c_str());
    if (!pointers.empty()) put(pointers.data());
  } else if (!values.empty()) {
    put(values.data());
  }
  write_text_attribute(dataset.get(), "units", label.units, place);
  write_text_attribute(dataset.get(), "description", label.description, place);
  return Dataset(std::move(dataset), name, place);
}

template <typename T>
Dataset Group::write_scale(const std::string& name, const std::vector<T>& values,
                           const Label& label) {
  Dataset scale = write(name, {values.size()}, values, label);
  scale.make_scale();
  return scale;
}

Dataset Group::open_dataset(const std::string& name) {
  silence();
  return Dataset(Handle(check_write(H5Dopen2(handle_.get(), name.c_str(), H5P_DEFAULT), where(name),
                                    "open the dataset")),
                 name, where(name));
}

void Group::write_attribute(const std::string& name, std::string_view text) {
  write_text_attribute(handle_.get(), name, text, where());
}

void Group::write_attribute(const std::string& name, std::int64_t number) {
  write_number_attribute(handle_.get(), name, number, where());
}

void Group::write_attribute(const std::string& name, double number) {
  write_number_attribute(handle_.get(), name, number, where());
}

bool Group::has(const std::string& name) const {
  silence();
  return H5Lexists(handle_.get(), name.c_str(), H5P_DEFAULT) > 0;
}

bool Group::has_attribute(const std::string& name) const {
  silence();
  return H5Aexists(handle_.get(), name.c_str()) > 0;
}

std::vector<std::string> Group::names() const {
  silence();
  std::vector<std::string> found;
  const auto take = [](hid_t, const char* name, const H5L_info_t* link, void* out) -> herr_t {
    // Soft and external links are not ours: following them could leave the file.
    if (link->type == H5L_TYPE_HARD)
      static_cast<std::vector<std::string>*>(out)->emplace_back(name);
    return 0;
  };
  if (H5Literate(handle_.get(), H5_INDEX_CRT_ORDER, H5_ITER_INC, nullptr, take, &found) >= 0)
    return found;
  H5Eclear2(H5E_DEFAULT);
  found.clear();  // a file without creation order: by name
  check_read(H5Literate(handle_.get(), H5_INDEX_NAME, H5_ITER_INC, nullptr, take, &found), where(),
             "be listed");
  return found;
}

Group Group::open_group(const std::string& name) const {
  if (!has(name))
    throw InputError(where(name), "the group is missing", "the file is damaged or no results file");
  Handle group(check_read(H5Gopen2(handle_.get(), name.c_str(), H5P_DEFAULT), where(name),
                          "be opened as a group"));
  return Group(std::move(group), file_, (path_ == "/" ? "/" : path_ + "/") + name);
}

template <typename T>
std::vector<T> Group::read(const std::string& name, const Shape& expected) const {
  const Handle dataset = open_for_reading(handle_.get(), name, where(name));
  const Shape shape = shape_of(dataset.get(), where(name));
  if (shape != expected)
    throw InputError(where(name), fmt::format("expected the shape {}, found {}", describe(expected),
                                              describe(shape)));
  return read_values<T>(dataset.get(), shape, where(name));
}

template <typename T>
std::vector<T> Group::read_axis(const std::string& name) const {
  const Handle dataset = open_for_reading(handle_.get(), name, where(name));
  const Shape shape = shape_of(dataset.get(), where(name));
  if (shape.size() != 1 || shape[0] > kMaxAxis)
    throw InputError(where(name),
                     fmt::format("expected one axis of at most {} elements, found the shape {}",
                                 kMaxAxis, describe(shape)));
  return read_values<T>(dataset.get(), shape, where(name));
}

std::string Group::text_attribute(const std::string& name) const {
  const Handle attribute = open_attribute(handle_.get(), name, H5T_STRING, where());
  const Handle stored(check_read(H5Aget_type(attribute.get()), where(), "read an attribute"));
  if (H5Tis_variable_str(stored.get()) <= 0)
    return read_fixed_text(attribute.get(), stored.get(), where());
  const Handle type = text_type();
  char* pointer = nullptr;
  check_read(H5Aread(attribute.get(), type.get(), &pointer), where(), "read an attribute");
  std::string text = pointer == nullptr ? "" : valid_utf8(pointer);
  H5free_memory(pointer);
  return text;
}

std::int64_t Group::integer_attribute(const std::string& name) const {
  const Handle attribute = open_attribute(handle_.get(), name, H5T_INTEGER, where());
  std::int64_t number = 0;
  check_read(H5Aread(attribute.get(), H5T_NATIVE_INT64, &number), where(), "read an attribute");
  return number;
}

double Group::real_attribute(const std::string& name) const {
  const Handle attribute = open_attribute(handle_.get(), name, H5T_FLOAT, where());
  double number = 0;
  check_read(H5Aread(attribute.get(), H5T_NATIVE_DOUBLE, &number), where(), "read an attribute");
  return number;
}

Group open_file(const std::filesystem::path& path) {
  silence();
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error))
    throw InputError(path.string(), "is not a file",
                     "run the experiment first, or name its run directory");
  if (H5Fis_hdf5(path.c_str()) <= 0) throw InputError(path.string(), "is not an HDF5 file");
  const Handle access(H5Pcreate(H5P_FILE_ACCESS));
  // A lock would only fail on cluster file systems.
  check_read(H5Pset_file_locking(access.get(), false, true), path.string(), "be opened");
  const Handle file(
      check_read(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), path.string(), "be opened"));
  Handle root(check_read(H5Gopen2(file.get(), "/", H5P_DEFAULT), path.string(), "be opened"));
  return Group(std::move(root), path.string(), "/");
}

NewFile::NewFile(const std::filesystem::path& path)
    : path_(path.string()), root_(Handle(), path.string(), "/") {
  silence();
  const Handle access(H5Pcreate(H5P_FILE_ACCESS));
  check_write(H5Pset_file_locking(access.get(), false, true), path_, "create the file");
  // An object that is still open makes close() fail instead of delaying it past the sync.
  check_write(H5Pset_fclose_degree(access.get(), H5F_CLOSE_SEMI), path_, "create the file");
  // Check-summed metadata and link order, still readable by every HDF5 since 1.8.
  check_write(H5Pset_libver_bounds(access.get(), H5F_LIBVER_V18, H5F_LIBVER_LATEST), path_,
              "create the file");
  const Handle creation(H5Pcreate(H5P_FILE_CREATE));
  check_write(
      H5Pset_link_creation_order(creation.get(), H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED),
      path_, "create the file");
  handle_ = Handle(check_write(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()),
                               path_, "create the file"));
  root_ = Group(
      Handle(check_write(H5Gopen2(handle_.get(), "/", H5P_DEFAULT), path_, "create the file")),
      path_, "/");
}

void NewFile::close() {
  root_ = Group(Handle(), path_, "/");
  check_write(H5Fflush(handle_.get(), H5F_SCOPE_GLOBAL), path_, "flush the file");
  check_write(H5Fclose(handle_.release()), path_, "close the file");
}

std::string valid_utf8(std::string_view text) {
  std::string clean;
  clean.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    utf8proc_int32_t point = 0;
    const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data() + at);
    const utf8proc_ssize_t length =
        utf8proc_iterate(bytes, static_cast<utf8proc_ssize_t>(text.size() - at), &point);
    if (length <= 0) {
      clean += "\uFFFD";
      ++at;
      continue;
    }
    if (point == 0)
      clean += "\u2400";
    else
      clean.append(text.substr(at, static_cast<std::size_t>(length)));
    at += static_cast<std::size_t>(length);
  }
  return clean;
}

std::string library_version() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("{}.{}.{}", major, minor, release);
}

#define FACTFLOW_HDF5_ELEMENT(T)                                                                   \
  template Dataset Group::write<T>(const std::string&, const Shape&, const std::vector<T>&,        \
                                   const Label&);                                                  \
  template Dataset Group::write_scale<T>(const std::string&, const std::vector<T>&, const Label&); \
  template std::vector<T> Group::read<T>(const std::string&, const Shape&) const;                  \
  template std::vector<T> Group::read_axis<T>(const std::string&) const;
FACTFLOW_HDF5_ELEMENT(float)
FACTFLOW_HDF5_ELEMENT(double)
FACTFLOW_HDF5_ELEMENT(std::int32_t)
FACTFLOW_HDF5_ELEMENT(std::int64_t)
FACTFLOW_HDF5_ELEMENT(std::string)
#undef FACTFLOW_HDF5_ELEMENT

}  // namespace factflow::hdf5
