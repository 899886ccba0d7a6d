// Pieces of HTML. Every text from the data goes through escape().
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace factflow::html {

// For element content and double-quoted attributes; control characters become U+FFFD.
std::string escape(std::string_view text);
// escape(), with typographic minus signs before digits and no line break before a percent sign.
std::string prose(std::string_view text);
std::string base64(std::string_view bytes);

// A table in a wrapper that scrolls sideways on narrow screens. Cells are HTML; columns from
// `numbers_from` on are numbers.
std::string table(const std::vector<std::string>& header,
                  const std::vector<std::vector<std::string>>& rows, std::size_t numbers_from);

// Two columns "name, value" of plain texts; empty values are left out.
std::string facts(const std::vector<std::pair<std::string, std::string>>& pairs);

}  // namespace factflow::html
