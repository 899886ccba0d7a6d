#include "model/checkpoint/pickle.hpp"

#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"
#include "model/checkpoint/pickle_value.hpp"
#include "model/checkpoint/untrusted.hpp"

namespace factflow {
namespace pickle {
namespace {

constexpr size_t kMaxOpcodes = size_t{1} << 20;
constexpr size_t kMaxMemo = size_t{1} << 20;
constexpr size_t kMaxMarks = 64;
constexpr size_t kLongestName = 256;  // of a global, on its line

// The stack machine. Every handler checks what it pops and what it reads.
class Machine {
 public:
  Machine(std::string_view pickle, const std::string& where)
      : pickle_(pickle), where_(where), heap_(where) {}

  Value run();
  Heap& heap() { return heap_; }

 private:
  struct Opcode {
    std::uint8_t code;
    const char* name;
    void (Machine::*handler)();  // nullptr: known, never needed for tensors, refused by name
  };
  static const Opcode kOpcodes[];
  static const Opcode* find_opcode(std::uint8_t code);

  [[noreturn]] void fail(const std::string& problem) const;

  // The pickle's bytes.
  template <typename T>
  T number();
  std::string_view take(std::uint64_t length);
  std::string_view line();

  // The stack.
  void push(Value value) { stack_.push_back(std::move(value)); }
  Value pop();
  Value& top();
  template <typename T>
  T expect(const Value& value, const char* wanted) const;
  std::vector<Value> pop_to_mark();
  void store(std::uint64_t index);
  void load(std::uint64_t index);
  template <typename Container>
  void push_container(std::span<const Value> items);
  void add_items(const std::vector<Value>& items);
  void add_members(const std::vector<Value>& items);

  void proto();
  void frame() { number<std::uint64_t>(); }  // a buffering hint
  void stop() { done_ = true; }
  void mark();
  void drop() { pop(); }
  void drop_to_mark() { pop_to_mark(); }
  void duplicate() { push(Value(top())); }
  void none() { push(None{}); }
  void true_value() { push(true); }
  void false_value() { push(false); }
  template <typename T>
  void integer() {
    push(static_cast<std::int64_t>(number<T>()));
  }
  void long1();
  void real();
  template <typename Length>
  void text() {
    push(Text{take(number<Length>())});
  }
  template <typename Length>
  void bytes() {
    take(number<Length>());
    push(Bytes{});
  }
  void empty_tuple() { push_container<Tuple>({}); }
  void empty_list() { push_container<List>({}); }
  void empty_dict() { push_container<Dict>({}); }
  template <size_t kSize>
  void small_tuple();
  void tuple() { push_container<Tuple>(pop_to_mark()); }
  void append() { add_items({pop()}); }
  void appends() { add_items(pop_to_mark()); }
  void set_item();
  void set_items() { add_members(pop_to_mark()); }
  void global();
  void stack_global();
  void refuse_instance() {
    global();
    fail("refuses the pickle opcode INST");
  }
  void apply();
  void build();
  void persistent_id() { push(persistent_storage(heap_, pop())); }
  template <typename Index>
  void put() {
    store(number<Index>());
  }
  template <typename Index>
  void get() {
    load(number<Index>());
  }
  void memoize() { store(memo_.size()); }

  std::string_view pickle_;
  size_t at_ = 0;
  std::string where_;
  Heap heap_;
  std::vector<Value> stack_;
  std::vector<size_t> marks_;  // stack sizes
  std::vector<std::optional<Value>> memo_;
  bool done_ = false;
};

const Machine::Opcode Machine::kOpcodes[] = {
    {0x80, "PROTO", &Machine::proto},
    {0x95, "FRAME", &Machine::frame},
    {'.', "STOP", &Machine::stop},
    {'(', "MARK", &Machine::mark},
    {'0', "POP", &Machine::drop},
    {'1', "POP_MARK", &Machine::drop_to_mark},
    {'2', "DUP", &Machine::duplicate},
    {'N', "NONE", &Machine::none},
    {0x88, "NEWTRUE", &Machine::true_value},
    {0x89, "NEWFALSE", &Machine::false_value},
    {'J', "BININT", &Machine::integer<std::int32_t>},
    {'K', "BININT1", &Machine::integer<std::uint8_t>},
    {'M', "BININT2", &Machine::integer<std::uint16_t>},
    {0x8a, "LONG1", &Machine::long1},
    {'G', "BINFLOAT", &Machine::real},
    {0x8c, "SHORT_BINUNICODE", &Machine::text<std::uint8_t>},
    {'X', "BINUNICODE", &Machine::text<std::uint32_t>},
    {0x8d, "BINUNICODE8", &Machine::text<std::uint64_t>},
    {'C', "SHORT_BINBYTES", &Machine::bytes<std::uint8_t>},
    {'B', "BINBYTES", &Machine::bytes<std::uint32_t>},
    {0x8e, "BINBYTES8", &Machine::bytes<std::uint64_t>},
    {')', "EMPTY_TUPLE", &Machine::empty_tuple},
    {0x85, "TUPLE1", &Machine::small_tuple<1>},
    {0x86, "TUPLE2", &Machine::small_tuple<2>},
    {0x87, "TUPLE3", &Machine::small_tuple<3>},
    {'t', "TUPLE", &Machine::tuple},
    {']', "EMPTY_LIST", &Machine::empty_list},
    {'a', "APPEND", &Machine::append},
    {'e', "APPENDS", &Machine::appends},
    {'}', "EMPTY_DICT", &Machine::empty_dict},
    {'s', "SETITEM", &Machine::set_item},
    {'u', "SETITEMS", &Machine::set_items},
    {'c', "GLOBAL", &Machine::global},
    {0x93, "STACK_GLOBAL", &Machine::stack_global},
    {'i', "INST", &Machine::refuse_instance},
    {'R', "REDUCE", &Machine::apply},
    {'b', "BUILD", &Machine::build},
    {'Q', "BINPERSID", &Machine::persistent_id},
    {'q', "BINPUT", &Machine::put<std::uint8_t>},
    {'r', "LONG_BINPUT", &Machine::put<std::uint32_t>},
    {0x94, "MEMOIZE", &Machine::memoize},
    {'h', "BINGET", &Machine::get<std::uint8_t>},
    {'j', "LONG_BINGET", &Machine::get<std::uint32_t>},
    {0x8b, "LONG4", nullptr},
    {0x81, "NEWOBJ", nullptr},
    {0x92, "NEWOBJ_EX", nullptr},
    {'o', "OBJ", nullptr},
    {'P', "PERSID", nullptr},
    {0x82, "EXT1", nullptr},
    {0x83, "EXT2", nullptr},
    {0x84, "EXT4", nullptr},
    {0x8f, "EMPTY_SET", nullptr},
    {0x90, "ADDITEMS", nullptr},
    {0x91, "FROZENSET", nullptr},
    {0x96, "BYTEARRAY8", nullptr},
    {0x97, "NEXT_BUFFER", nullptr},
    {0x98, "READONLY_BUFFER", nullptr},
};

const Machine::Opcode* Machine::find_opcode(std::uint8_t code) {
  static const auto kTable = [] {
    std::array<const Opcode*, 256> table{};
    for (const Opcode& opcode : kOpcodes) table[opcode.code] = &opcode;
    return table;
  }();
  return kTable[code];
}

void Machine::fail(const std::string& problem) const {
  throw InputError(where_, fmt::format("{}, at byte {} of its pickle", problem, at_));
}

template <typename T>
T Machine::number() {
  T value;
  std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
  return value;
}

std::string_view Machine::take(std::uint64_t length) {
  if (length > pickle_.size() - at_) fail("ends in the middle of a value");
  const std::string_view taken = pickle_.substr(at_, length);
  at_ += length;
  return taken;
}

std::string_view Machine::line() {
  const size_t length = pickle_.substr(at_, kLongestName + 1).find('\n');
  if (length == std::string_view::npos) fail("holds a name without an end");
  const std::string_view text = take(length);
  ++at_;
  return text;
}

Value Machine::pop() {
  const size_t floor = marks_.empty() ? 0 : marks_.back();
  if (stack_.size() <= floor) fail("takes a value from an empty stack");
  Value value = std::move(stack_.back());
  stack_.pop_back();
  return value;
}

Value& Machine::top() {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back()))
    fail("takes a value from an empty stack");
  return stack_.back();
}

template <typename T>
T Machine::expect(const Value& value, const char* wanted) const {
  if (const T* found = std::get_if<T>(&value)) return *found;
  fail(fmt::format("holds {} where {} is expected", kind_name(value), wanted));
}

std::vector<Value> Machine::pop_to_mark() {
  if (marks_.empty()) fail("closes a group that was not opened");
  const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
  std::vector<Value> items(begin, stack_.end());
  stack_.erase(begin, stack_.end());
  marks_.pop_back();
  return items;
}

void Machine::store(std::uint64_t index) {
  if (index >= kMaxMemo)
    fail(fmt::format("uses the memo index {}, expected less than {}", index, kMaxMemo));
  const Value value = top();
  if (index >= memo_.size()) memo_.resize(index + 1);
  memo_[index] = value;
}

void Machine::load(std::uint64_t index) {
  if (index >= memo_.size() || !memo_[index])
    fail(fmt::format("reads the memo index {}, which is not set", index));
  push(*memo_[index]);
}

template <typename Container>
void Machine::push_container(std::span<const Value> items) {
  const Container container{heap_.make_node()};
  for (const Value& item : items) heap_.append(container.node, item);
  push(container);
}

void Machine::proto() {
  const auto version = number<std::uint8_t>();
  if (version < 2 || version > 5)
    fail(fmt::format("has the pickle protocol {}, expected 2 to 5", version));
}

void Machine::mark() {
  if (marks_.size() == kMaxMarks) fail(fmt::format("nests deeper than {} groups", kMaxMarks));
  marks_.push_back(stack_.size());
}

// Little-endian two's complement of as many bytes as stated.
void Machine::long1() {
  const std::string_view digits = take(number<std::uint8_t>());
  if (digits.size() > sizeof(std::int64_t))
    fail(fmt::format("holds an integer of {} bytes, expected at most 8", digits.size()));
  std::int64_t value =
      !digits.empty() && (static_cast<unsigned char>(digits.back()) & 0x80) != 0 ? -1 : 0;
  std::memcpy(&value, digits.data(), digits.size());
  push(value);
}

void Machine::real() {
  push(std::bit_cast<double>(__builtin_bswap64(number<std::uint64_t>())));
}

template <size_t kSize>
void Machine::small_tuple() {
  std::array<Value, kSize> items;
  for (size_t i = kSize; i-- > 0;) items[i] = pop();
  push_container<Tuple>(items);
}

void Machine::add_items(const std::vector<Value>& items) {
  const auto list = expect<List>(top(), "a list");
  for (const Value& item : items) heap_.append(list.node, item);
}

void Machine::set_item() {
  Value value = pop();
  add_members({pop(), std::move(value)});
}

void Machine::add_members(const std::vector<Value>& items) {
  const auto dict = expect<Dict>(top(), "a dict");
  if (items.size() % 2 != 0) fail("holds a dict key without a value");
  for (const Value& item : items) heap_.append(dict.node, item);
}

void Machine::global() {
  const std::string_view module = line();
  const std::string_view name = line();
  push(find_global(module, name, where_));
}

void Machine::stack_global() {
  const auto name = expect<Text>(pop(), "the name of a global");
  const auto module = expect<Text>(pop(), "the module of a global");
  push(find_global(module.value, name.value, where_));
}

void Machine::apply() {
  const auto arguments = expect<Tuple>(pop(), "the arguments of a call");
  const auto* function = expect<const Global*>(pop(), "a function");
  push(reduce(heap_, *function, arguments));
}

// Attributes of an object. Only an OrderedDict has some here (its _metadata), and nothing needs
// them.
void Machine::build() {
  const Value state = pop();
  expect<Dict>(top(), "an OrderedDict");
  expect<Dict>(state, "the attributes of an OrderedDict");
}

Value Machine::run() {
  if (pickle_.empty() || static_cast<std::uint8_t>(pickle_[0]) != 0x80)
    fail("does not begin as a pickle does");
  for (size_t count = 0; !done_; ++count) {
    if (count == kMaxOpcodes) fail(fmt::format("holds more than {} opcodes", kMaxOpcodes));
    const auto code = number<std::uint8_t>();
    const Opcode* opcode = find_opcode(code);
    if (opcode == nullptr) fail(fmt::format("holds the unknown pickle opcode {:#04x}", code));
    if (opcode->handler == nullptr) fail(fmt::format("refuses the pickle opcode {}", opcode->name));
    (this->*opcode->handler)();
  }
  return pop();
}

}  // namespace
}  // namespace pickle

std::map<std::string, PickledTensor> read_pickled_tensors(std::string_view pickle,
                                                          const std::string& where) {
  pickle::Machine machine(pickle, where);
  const pickle::Value root = machine.run();
  const auto* dict = std::get_if<pickle::Dict>(&root);
  if (dict == nullptr)
    throw InputError(where,
                     fmt::format("holds {}, expected a dict of tensors", pickle::kind_name(root)),
                     "save model.state_dict()");
  const std::vector<pickle::Value>& items = machine.heap().items(dict->node);
  std::map<std::string, PickledTensor> tensors;
  for (size_t i = 0; i < items.size(); i += 2) {
    const auto* name = std::get_if<pickle::Text>(&items[i]);
    const auto* tensor = std::get_if<pickle::Tensor>(&items[i + 1]);
    if (name == nullptr)
      throw InputError(where, fmt::format("holds a dict with {} as a key, expected names",
                                          pickle::kind_name(items[i])));
    if (tensor == nullptr)
      throw InputError(where,
                       fmt::format("entry {} is {}, expected a tensor", in_quotes(name->value),
                                   pickle::kind_name(items[i + 1])),
                       "save model.state_dict() alone");
    if (!tensors.emplace(name->value, machine.heap()[*tensor]).second)
      throw InputError(where, fmt::format("holds the tensor {} twice", in_quotes(name->value)));
  }
  return tensors;
}

}  // namespace factflow
