// write_paper_models DIR: small stand-ins for the models of configs/paper, and prompts.jsonl beside
// them, to try these files:
//   write_paper_models small
//   factflow run configs/paper/everything.yaml --models-dir small --dataset small/prompts.jsonl
//   --limit 2
#include <cstdio>

#include "tests/system/paper_models.hpp"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: write_paper_models DIR\n");
    return 2;
  }
  const std::filesystem::path directory = argv[1];
  factflow::testing::write_paper_models(directory);
  factflow::testing::write_paper_prompts(directory / "prompts.jsonl");
  return 0;
}
