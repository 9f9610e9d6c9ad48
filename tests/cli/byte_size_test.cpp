#include "cli/byte_size.h"

#include <gtest/gtest.h>

namespace pagoda {
namespace {

TEST(ByteSize, ReadsUnits) {
  EXPECT_EQ(parse_byte_size("4096"), 4096u);
  EXPECT_EQ(parse_byte_size("8GiB"), uint64_t{8} << 30);
  EXPECT_EQ(parse_byte_size("8g"), uint64_t{8} << 30);
  EXPECT_EQ(parse_byte_size("500MB"), 500'000'000u);
  EXPECT_EQ(parse_byte_size("1.5Ki"), 1536u);
  EXPECT_EQ(parse_byte_size("2TB"), 2'000'000'000'000u);
}

TEST(ByteSize, RefusesOtherText) {
  for (const char* text : {"", "GiB", "-1", "1e30", "8 GiB", "8GiBs", "8XB", "nan", "inf"})
    EXPECT_FALSE(parse_byte_size(text)) << text;
}

TEST(ByteSize, WritesThreeDigits) {
  EXPECT_EQ(format_byte_size(0), "0 B");
  EXPECT_EQ(format_byte_size(999), "999 B");
  EXPECT_EQ(format_byte_size(98'362'432), "98.4 MB");
  EXPECT_EQ(format_byte_size(1'117'320'768), "1.12 GB");
  EXPECT_EQ(format_byte_size(999'999), "1.00 MB");
}

}  // namespace
}  // namespace pagoda
