#include "kv/place_table.h"

#include <gtest/gtest.h>

namespace pagoda {
namespace {

TEST(PlaceTable, FindsWhatIsThereAndNothingElse) {
  PlaceTable<int> table(2);
  EXPECT_EQ(table.find(PlaceTable<int>::kNoId), nullptr);
  const int64_t a = table.add(10);
  const int64_t b = table.add(20);
  EXPECT_TRUE(table.is_full());
  EXPECT_EQ(*table.find(a), 10);
  EXPECT_EQ(*table.find(b), 20);
  EXPECT_EQ(table.take(table.place(a)), 10);
  EXPECT_EQ(table.find(a), nullptr);
  EXPECT_EQ(table.num_used(), 1u);
  const int64_t c = table.add(30);
  EXPECT_EQ(table.find(a), nullptr) << "another is in its place";
  EXPECT_EQ(*table.find(c), 30);
  EXPECT_EQ(*table.find(b), 20);
}

TEST(PlaceTable, IdsAscendAndPlacesAreSmall) {
  PlaceTable<int> table(3);
  int64_t last = PlaceTable<int>::kNoId;
  for (int i = 0; i < 100; ++i) {
    const int64_t id = table.add(i);
    EXPECT_GT(id, last);
    EXPECT_LT(table.place(id), 3);
    EXPECT_EQ(table.entries()[static_cast<size_t>(table.place(id))].id, id);
    last = id;
    if (i % 3 != 0) table.take(table.place(id));
    if (table.is_full()) table.take(0);
  }
}

TEST(PlaceTable, WithoutPlacesNothingIsFound) {
  const PlaceTable<int> table(0);
  EXPECT_TRUE(table.is_full());
  EXPECT_EQ(table.find(PlaceTable<int>::kNoId), nullptr);
}

}  // namespace
}  // namespace pagoda
