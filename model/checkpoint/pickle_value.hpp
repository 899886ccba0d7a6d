// What a restricted pickle can hold, and where the reader keeps it.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "model/checkpoint/pickle.hpp"

namespace factflow::pickle {

// A name that a pickle may mention. Nothing is ever imported or called: the name selects one of the
// reductions of torch_objects.cpp.
enum class GlobalKind {
  kOrderedDict,
  kSize,
  kRebuildTensor,
  kRebuildTensorV2,
  kRebuildTensorV3,
  kRebuildParameter,
  kStorage,
  kDtype
};
struct Global {
  std::string_view module, name;
  GlobalKind kind;
  StoredType type;  // of a storage or dtype
};

// Values are small; containers, storages and tensors are indices into the Heap. So nothing is
// copied deeply, nothing is freed recursively, and cycles and sharing (memo bombs) cost nothing.
struct None {};
struct Text {
  std::string_view value;  // into the pickle
};
struct Bytes {};  // content not needed
struct Tuple {
  size_t node;
};
struct List {
  size_t node;
};
struct Dict {
  size_t node;  // items: key, value, key, value, ...
};
struct Storage {
  size_t index;
};
struct Tensor {
  size_t index;
};
using Value = std::variant<None, bool, std::int64_t, double, Text, Bytes, Tuple, List, Dict,
                           const Global*, Storage, Tensor>;

std::string kind_name(const Value& value);  // "a list"; for messages

class Heap {
 public:
  explicit Heap(std::string where) : where_(std::move(where)) {}

  size_t make_node();
  void append(size_t node, const Value& value);  // throws InputError if it would nest too deep
  const std::vector<Value>& items(size_t node) const { return nodes_[node].items; }

  Storage add(PickledStorage storage);
  Tensor add(PickledTensor tensor);
  const PickledStorage& operator[](Storage storage) const { return storages_[storage.index]; }
  const PickledTensor& operator[](Tensor tensor) const { return tensors_[tensor.index]; }

  const std::string& where() const { return where_; }

 private:
  struct Node {
    std::vector<Value> items;
    int depth = 1;
  };
  std::string where_;
  std::deque<Node> nodes_;
  std::deque<PickledStorage> storages_;
  std::deque<PickledTensor> tensors_;
};

// Each throws InputError(heap.where(), ...).
const Global* find_global(std::string_view module, std::string_view name,
                          const std::string& where);  // by name, or refuses
Value reduce(Heap& heap, const Global& function, const Tuple& arguments);
Value persistent_storage(Heap& heap, const Value& id);  // ("storage", class, key, location, count)

}  // namespace factflow::pickle
