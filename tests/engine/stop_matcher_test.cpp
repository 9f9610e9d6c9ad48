#include "engine/stop_matcher.h"

#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace pagoda {
namespace {

struct Outcome {
  std::string text;
  std::optional<size_t> match;
  bool operator==(const Outcome&) const = default;
};

Outcome run(const std::vector<std::string>& stops, const std::vector<std::string>& pieces,
            StopMatcher::Match show = StopMatcher::Match::hide) {
  StopMatcher matcher(stops, show);
  Outcome outcome;
  for (const std::string& piece : pieces) {
    outcome.match = matcher.push(piece, outcome.text);
    if (outcome.match) return outcome;
  }
  matcher.finish(outcome.text);
  return outcome;
}

TEST(StopMatcher, LetsTextThroughWithoutStops) {
  EXPECT_EQ(run({}, {"ab", "c"}), (Outcome{"abc", std::nullopt}));
}

TEST(StopMatcher, FindsStopsAcrossPieces) {
  EXPECT_EQ(run({"STOP"}, {"go ST", "O", "P more"}), (Outcome{"go ", 0}));
  EXPECT_EQ(run({"STOP"}, {"go ST", "O", "P more"}, StopMatcher::Match::show), (Outcome{"go STOP", 0}));
}

TEST(StopMatcher, HoldsBackOnlyWhatMayBecomeAStop) {
  const std::vector<std::string> stops = {"\n\n", "END"};
  StopMatcher matcher(stops, StopMatcher::Match::hide);
  std::string out;
  matcher.push("abc\n", out);
  EXPECT_EQ(out, "abc");
  matcher.push("dE", out);
  EXPECT_EQ(out, "abc\nd");
  matcher.push("N", out);
  EXPECT_EQ(out, "abc\nd");
  matcher.push("T", out);
  EXPECT_EQ(out, "abc\ndENT");
}

TEST(StopMatcher, ReleasesWhatWasHeldBackAtTheEnd) {
  EXPECT_EQ(run({"STOP"}, {"a STO"}), (Outcome{"a STO", std::nullopt}));
}

TEST(StopMatcher, TheFirstToEndWinsTheLongestAmongThose) {
  EXPECT_EQ(run({"abcd", "bc"}, {"xabcdx"}), (Outcome{"xa", 1}));
  EXPECT_EQ(run({"c", "abc"}, {"xabcdx"}), (Outcome{"x", 1}));
}

TEST(StopMatcher, OverlappingBeginnings) {
  EXPECT_EQ(run({"aab"}, {"a", "a", "a", "b"}), (Outcome{"a", 0}));
  EXPECT_EQ(run({"abab"}, {"aba", "c", "abab"}), (Outcome{"abac", 0}));
}

TEST(StopMatcher, OutcomeDoesNotDependOnThePieces) {
  std::mt19937 random(1);
  const auto word = [&](uint32_t max) {
    std::string text(1 + random() % max, 'a');
    for (char& letter : text) letter = static_cast<char>('a' + random() % 2);
    return text;
  };
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::string> stops(1 + random() % 3);
    for (std::string& stop : stops) stop = word(4);
    const std::string text = word(12);
    std::vector<std::string> letters;
    std::vector<std::string> pieces = {""};
    for (const char letter : text) {
      letters.emplace_back(1, letter);
      if (random() % 3 == 0) pieces.emplace_back();
      pieces.back() += letter;
    }
    for (const auto show : {StopMatcher::Match::hide, StopMatcher::Match::show}) {
      const Outcome expected = run(stops, letters, show);
      // Two equal stop strings may differ in index only.
      EXPECT_EQ(run(stops, pieces, show).text, expected.text) << text;
      EXPECT_EQ(run(stops, {text}, show), run(stops, pieces, show)) << text;
    }
  }
}

}  // namespace
}  // namespace pagoda
