// factflow man and factflow completion: documents made of the same tables as --help.
#include <algorithm>
#include <iostream>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "base/version.hpp"
#include "pipeline/commands/command.hpp"

namespace factflow {
namespace {

// Text as roff takes it: backslashes and hyphens as they stand, no line that is a request.
std::string roff(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool line_begins = i == 0 || text[i - 1] == '\n';
    if (line_begins && (text[i] == '.' || text[i] == '\'')) out += "\\&";
    if (text[i] == '\\')
      out += "\\\\";
    else if (text[i] == '-')
      out += "\\-";
    else
      out += text[i];
  }
  return out;
}

std::string option_name(const po::option_description& option) {
  const std::string& name = option.long_name();
  const std::string letter =
      option.canonical_display_name(po::command_line_style::allow_dash_for_short);
  return (letter.size() == 2 ? letter + ", " : "") + (name.empty() ? "" : "--" + name) +
         (option.format_parameter().empty() ? "" : " ") + option.format_parameter();
}

std::string man_section(const Command& command) {
  const Usage usage = command.usage();
  std::string text = fmt::format(".SS \"factflow {} {}\"\n{}\n", roff(command.name),
                                 roff(command.arguments), roff(command.summary));
  for (const auto& option : usage.options.options())
    text +=
        fmt::format(".TP\n.B {}\n{}\n", roff(option_name(*option)), roff(option->description()));
  for (const std::string& example : usage.examples)
    text += fmt::format(".PP\n.nf\n    factflow {}\n.fi\n", roff(example));
  if (!usage.epilogue.empty()) text += fmt::format(".PP\n.nf\n{}.fi\n", roff(usage.epilogue));
  return text;
}

std::string man_page() {
  std::string text = fmt::format(
      ".TH FACTFLOW 1 \"\" \"factflow {}\" \"\"\n.SH NAME\nfactflow \\- where factual information "
      "flows inside language models\n.SH SYNOPSIS\n.B factflow\n.I COMMAND\n[arguments]\n"
      ".SH COMMANDS\n",
      version());
  for (const Command& command : commands()) text += man_section(command);
  return text +
         ".SH EXIT STATUS\n0 good, 1 failed, 2 bad usage or input, 3 stopped by a signal (the same "
         "command continues), 4 another launch holds the directory.\n";
}

std::vector<std::string> option_words(const Command& command) {
  std::vector<std::string> words;
  const Usage usage = command.usage();
  for (const auto& option : usage.options.options()) words.push_back("--" + option->long_name());
  words.emplace_back("--help");
  return words;
}

std::vector<std::string> command_words() {
  std::vector<std::string> words = {"help", "--version"};
  for (const Command& command : commands()) words.emplace_back(command.name);
  return words;
}

// Options of the command in front of the cursor; files for everything else.
std::string bash_completion() {
  std::string cases;
  for (const Command& command : commands())
    cases +=
        fmt::format("    {}) words=\"{}\" ;;\n", command.name, join(option_words(command), " "));
  return fmt::format(
      "# bash completion of factflow: source <(factflow completion bash)\n"
      "_factflow() {{\n"
      "  local word=${{COMP_WORDS[COMP_CWORD]}} words=\"\"\n"
      "  if [ \"$COMP_CWORD\" -eq 1 ] || {{ [ \"$COMP_CWORD\" -eq 2 ] && [ \"${{COMP_WORDS[1]}}\" "
      "= "
      "help ]; }}; then\n"
      "    mapfile -t COMPREPLY < <(compgen -W \"{}\" -- \"$word\")\n"
      "    return\n"
      "  fi\n"
      "  case ${{COMP_WORDS[1]}} in\n{}  esac\n"
      "  case $word in\n"
      "    -*) mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\") ;;\n"
      "    *) mapfile -t COMPREPLY < <(compgen -f -- \"$word\") ;;\n"
      "  esac\n"
      "}}\n"
      "complete -o filenames -F _factflow factflow\n",
      join(command_words(), " "), cases);
}

// In single quotes, with what _arguments and _describe read as punctuation escaped.
std::string zsh_text(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\'')
      out += "'\\''";
    else if (c == ':' || c == '[' || c == ']' || c == '\\')
      out += std::string("\\") + c;
    else
      out += c == '\n' ? ' ' : c;
  }
  return out;
}

std::string zsh_completion() {
  std::string names, cases;
  for (const Command& command : commands()) {
    names += fmt::format("    '{}:{}'\n", command.name, zsh_text(command.summary));
    std::string arguments;
    const Usage usage = command.usage();
    for (const auto& option : usage.options.options())
      arguments += fmt::format(" \\\n        '--{}[{}]{}'", option->long_name(),
                               zsh_text(option->description()),
                               option->semantic()->max_tokens() == 0 ? "" : ":value:_files");
    cases += fmt::format(
        "      {}) _arguments{} \\\n        '--help[show this help]' '*:file:_files' ;;\n",
        command.name, arguments);
  }
  return fmt::format(
      "#compdef factflow\n"
      "# zsh completion of factflow: factflow completion zsh > a directory of $fpath/_factflow\n"
      "_factflow() {{\n"
      "  local -a names=(\n{}  )\n"
      "  if (( CURRENT == 2 )); then\n"
      "    _describe command names\n"
      "  else\n"
      "    local name=$words[2]\n"
      "    shift words\n"
      "    (( CURRENT-- ))\n"
      "    case $name in\n{}    esac\n"
      "  fi\n"
      "}}\n"
      "_factflow \"$@\"\n",
      names, cases);
}

}  // namespace

Usage completion_usage() {
  Usage usage;
  usage.positional = {"SHELL"};
  usage.examples = {"completion bash > /etc/bash_completion.d/factflow",
                    "completion zsh > ~/.zfunc/_factflow"};
  return usage;
}

int completion_command(const po::variables_map& values) {
  const std::string shell = values["SHELL"].as<std::string>();
  if (shell != "bash" && shell != "zsh")
    throw InputError("factflow completion", unknown_word("shell", shell, {"bash", "zsh"}));
  std::cout << (shell == "bash" ? bash_completion() : zsh_completion());
  return 0;
}

Usage man_usage() {
  Usage usage;
  usage.examples = {"man > factflow.1", "man | man -l -"};
  return usage;
}

int man_command(const po::variables_map& /*values*/) {
  std::cout << man_page();
  return 0;
}

}  // namespace factflow
