// The names that a pickle of torch may mention, and what each of them means for a reader of
// tensors.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/error.hpp"
#include "model/checkpoint/pickle_value.hpp"
#include "model/checkpoint/untrusted.hpp"

namespace factflow::pickle {
namespace {

using enum GlobalKind;
using enum StoredType;

constexpr int kMaxDepth = 64;
constexpr size_t kLongestKey = 64;

constexpr Global kGlobals[] = {
    {"collections", "OrderedDict", kOrderedDict, kU8},
    {"torch", "Size", kSize, kU8},
    {"torch._utils", "_rebuild_tensor", kRebuildTensor, kU8},
    {"torch._utils", "_rebuild_tensor_v2", kRebuildTensorV2, kU8},
    {"torch._utils", "_rebuild_tensor_v3", kRebuildTensorV3, kU8},
    {"torch._utils", "_rebuild_parameter", kRebuildParameter, kU8},
    {"torch._utils", "_rebuild_parameter_with_state", kRebuildParameter, kU8},
    {"torch", "DoubleStorage", kStorage, kF64},
    {"torch", "FloatStorage", kStorage, kF32},
    {"torch", "HalfStorage", kStorage, kF16},
    {"torch", "BFloat16Storage", kStorage, kBF16},
    {"torch", "LongStorage", kStorage, kI64},
    {"torch", "IntStorage", kStorage, kI32},
    {"torch", "ShortStorage", kStorage, kI16},
    {"torch", "CharStorage", kStorage, kI8},
    {"torch", "ByteStorage", kStorage, kU8},
    {"torch", "BoolStorage", kStorage, kBool},
    {"torch.storage", "UntypedStorage", kStorage, kU8},
    {"torch", "UntypedStorage", kStorage, kU8},
    {"torch", "float64", kDtype, kF64},
    {"torch", "float32", kDtype, kF32},
    {"torch", "float16", kDtype, kF16},
    {"torch", "bfloat16", kDtype, kBF16},
    {"torch", "int64", kDtype, kI64},
    {"torch", "int32", kDtype, kI32},
    {"torch", "int16", kDtype, kI16},
    {"torch", "int8", kDtype, kI8},
    {"torch", "uint8", kDtype, kU8},
    {"torch", "bool", kDtype, kBool},
};

std::string full_name(const Global& global) {
  return fmt::format("{}.{}", global.module, global.name);
}

// The arguments of one call, checked one by one.
class Arguments {
 public:
  Arguments(const Heap& heap, const Tuple& tuple, std::string call)
      : heap_(heap), items_(heap.items(tuple.node)), call_(std::move(call)) {}

  void expect_count(size_t least, size_t most) const {
    if (items_.size() < least || items_.size() > most)
      throw InputError(heap_.where(), fmt::format("gives {} arguments to {}, expected {} to {}",
                                                  items_.size(), call_, least, most));
  }
  template <typename T>
  T get(size_t index, const char* wanted) const {
    return get_from<T>(items_[index], wanted);
  }
  // Torch writes shapes and strides as tuples or as torch.Size, which reads as a tuple.
  std::vector<std::int64_t> sizes(size_t index) const {
    const std::vector<Value>& items = heap_.items(get<Tuple>(index, "a tuple of integers").node);
    if (items.size() > kMaxDimensions)
      throw InputError(heap_.where(), fmt::format("gives {} dimensions to {}, expected at most {}",
                                                  items.size(), call_, kMaxDimensions));
    std::vector<std::int64_t> sizes;
    for (const Value& item : items) sizes.push_back(get_from<std::int64_t>(item, "an integer"));
    return sizes;
  }

 private:
  template <typename T>
  T get_from(const Value& value, const char* wanted) const {
    if (const T* found = std::get_if<T>(&value)) return *found;
    throw InputError(heap_.where(),
                     fmt::format("gives {} to {}, expected {}", kind_name(value), call_, wanted));
  }

  const Heap& heap_;
  const std::vector<Value>& items_;
  std::string call_;
};

// (storage, offset, shape, strides, ...), the beginning common to all versions.
PickledTensor view_of(const Heap& heap, const Arguments& arguments, const Global& function) {
  PickledTensor tensor;
  tensor.storage = heap[arguments.get<Storage>(0, "a storage")];
  tensor.type = tensor.storage.type;
  tensor.offset = arguments.get<std::int64_t>(1, "an offset");
  tensor.shape = arguments.sizes(2);
  tensor.strides = arguments.sizes(3);
  if (tensor.shape.size() != tensor.strides.size())
    throw InputError(heap.where(),
                     fmt::format("gives {} sizes and {} strides to {}", tensor.shape.size(),
                                 tensor.strides.size(), full_name(function)));
  return tensor;
}

StoredType dtype_of(const Heap& heap, const Global* global) {
  if (global->kind != kDtype)
    throw InputError(heap.where(),
                     fmt::format("gives {} where a dtype is expected", full_name(*global)));
  return global->type;
}

}  // namespace

std::string kind_name(const Value& value) {
  constexpr std::array kNames = {"None",     "a bool",   "an integer", "a float",
                                 "a string", "bytes",    "a tuple",    "a list",
                                 "a dict",   "a global", "a storage",  "a tensor"};
  static_assert(kNames.size() == std::variant_size_v<Value>);
  return kNames[value.index()];
}

size_t Heap::make_node() {
  nodes_.emplace_back();
  return nodes_.size() - 1;
}

void Heap::append(size_t node, const Value& value) {
  int inner = 0;
  if (const auto* tuple = std::get_if<Tuple>(&value)) inner = nodes_[tuple->node].depth;
  if (const auto* list = std::get_if<List>(&value)) inner = nodes_[list->node].depth;
  if (const auto* dict = std::get_if<Dict>(&value)) inner = nodes_[dict->node].depth;
  if (inner >= kMaxDepth)
    throw InputError(where_, fmt::format("nests deeper than {} levels", kMaxDepth));
  nodes_[node].depth = std::max(nodes_[node].depth, inner + 1);
  nodes_[node].items.push_back(value);
}

Storage Heap::add(PickledStorage storage) {
  storages_.push_back(std::move(storage));
  return {storages_.size() - 1};
}

Tensor Heap::add(PickledTensor tensor) {
  tensors_.push_back(std::move(tensor));
  return {tensors_.size() - 1};
}

const Global* find_global(std::string_view module, std::string_view name,
                          const std::string& where) {
  for (const Global& global : kGlobals)
    if (global.module == module && global.name == name) return &global;
  std::string full = in_quotes(fmt::format("{}.{}", module, name));
  full = full.substr(1, full.size() - 2);
  throw InputError(where, fmt::format("refuses the global {}", full),
                   "only tensors are read from pickles, and no code is run: convert the checkpoint "
                   "to model.safetensors");
}

Value reduce(Heap& heap, const Global& function, const Tuple& tuple) {
  const Arguments arguments(heap, tuple, full_name(function));
  switch (function.kind) {
    case kOrderedDict:
      arguments.expect_count(0, 0);
      return Dict{heap.make_node()};
    case kSize:
      arguments.expect_count(1, 1);
      return arguments.get<Tuple>(0, "a tuple of integers");
    case kRebuildTensor:
      arguments.expect_count(4, 4);
      return heap.add(view_of(heap, arguments, function));
    case kRebuildTensorV2:  // ..., requires_grad, backward_hooks, metadata
      arguments.expect_count(6, 7);
      return heap.add(view_of(heap, arguments, function));
    case kRebuildTensorV3: {  // ..., requires_grad, backward_hooks, dtype, metadata
      arguments.expect_count(7, 8);
      PickledTensor tensor = view_of(heap, arguments, function);
      tensor.type = dtype_of(heap, arguments.get<const Global*>(6, "a dtype"));
      return heap.add(std::move(tensor));
    }
    case kRebuildParameter:  // data, requires_grad, backward_hooks, attributes
      arguments.expect_count(3, 4);
      return arguments.get<Tensor>(0, "a tensor");
    case kStorage:
    case kDtype:
      break;
  }
  throw InputError(heap.where(), fmt::format("refuses a call of {}", full_name(function)));
}

Value persistent_storage(Heap& heap, const Value& id) {
  const auto* tuple = std::get_if<Tuple>(&id);
  if (tuple == nullptr)
    throw InputError(heap.where(),
                     fmt::format("holds {} as a persistent id, expected a tuple", kind_name(id)));
  const Arguments arguments(heap, *tuple, "a persistent id");
  arguments.expect_count(5, 5);
  if (arguments.get<Text>(0, "the word storage").value != "storage")
    throw InputError(heap.where(), "holds a persistent id that is no storage");
  const auto* global = arguments.get<const Global*>(1, "a storage class");
  if (global->kind != kStorage)
    throw InputError(
        heap.where(),
        fmt::format("holds a storage of the class {}, expected torch.FloatStorage or alike",
                    full_name(*global)));
  PickledStorage storage;
  storage.type = global->type;
  const std::string_view key = arguments.get<Text>(2, "a storage key").value;
  if (key.size() > kLongestKey)
    throw InputError(heap.where(),
                     fmt::format("holds the storage key {} of {} bytes, expected at most {}",
                                 in_quotes(key), key.size(), kLongestKey));
  storage.key = key;
  storage.count = arguments.get<std::int64_t>(4, "a number of elements");
  if (storage.count < 0)
    throw InputError(heap.where(), fmt::format("holds a storage of {} elements", storage.count));
  return heap.add(std::move(storage));
}

}  // namespace factflow::pickle
