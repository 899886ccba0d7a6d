// factflow: where factual information flows inside language models. Dispatches to
// pipeline/commands/.
#include <cstdio>
#include <cstring>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "pipeline/commands/command.hpp"
#include "pipeline/run/stop_signals.hpp"

namespace {

constexpr std::size_t kNameWidth = 13;  // of commands in the help

void print_help() {
  std::cout << "factflow: where factual information flows inside language models\n\nUsage: "
               "factflow COMMAND [arguments]\n\n";
  for (const factflow::Command& command : factflow::commands()) {
    std::string name = command.name;
    name.resize(kNameWidth, ' ');
    std::cout << "  " << name << command.summary << '\n';
  }
  std::cout << "\nfactflow COMMAND --help explains a command. Exit codes: 0 good, 1 failed, 2 "
               "bad usage or input,\n3 stopped by a signal (the same command continues), 4 another "
               "launch holds the directory.\n";
}

int dispatch(const std::vector<std::string>& arguments) {
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h" ||
      arguments[0] == "help") {
    print_help();
    return arguments.empty() ? 2 : 0;
  }
  return factflow::command_named(arguments[0]).run({arguments.begin() + 1, arguments.end()});
}

// Before main, and before the constructors of libtorch, which take most of a second in which a
// signal would end the process. glibc hands over what main gets.
void catch_signals_of_a_run(int argc, char** argv, char** /*environment*/) {
  if (argc > 1 && std::strcmp(argv[1], "run") == 0) factflow::catch_stop_signals();
}
[[gnu::used, gnu::section(".preinit_array")]] void (*const before_constructors)(
    int, char**, char**) = catch_signals_of_a_run;

}  // namespace

int main(int argc, char** argv) {
  try {
    return dispatch({argv + 1, argv + argc});
  } catch (const factflow::Error& error) {
    std::fprintf(stderr, "factflow: %s\n", error.what());
    return error.exit_code();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "factflow: internal error: %s\n", error.what());
    return 1;
  }
}
