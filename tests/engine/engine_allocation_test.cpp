int pagoda_placeholder;
